/** The demo's command: starts the service, says how to try it, and stops it all at SIGTERM or Ctrl-C. */
import { onTerminationSignal } from "@vg/pooled-server";
import { demoConfigFromEnv, type DemoConfig } from "./config.ts";
import { SERVICE, startDemo, type Demo } from "./demo.ts";

async function main(): Promise<void> {
  const config = demoConfigFromEnv();
  // From here on a signal must not leave a child or a folder behind, not even in the middle of the start.
  const starting = startDemo(config);
  onTerminationSignal(() => {
    void starting
      .then((demo) => demo.close())
      .then(
        ({ clean }) => process.exit(clean ? 0 : 1),
        () => process.exit(1),
      );
  });
  const demo = await starting;
  process.stdout.write(banner(demo, config));
}

function banner({ url: bound, upstream, database }: Demo, { apiKey, dataDir }: DemoConfig): string {
  // "All addresses" is none that can be asked.
  const url = bound.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:");
  const key = apiKey === undefined ? "" : " -H 'authorization: Bearer '$API_KEY";
  const json = `${key} -H 'content-type: application/json'`;
  const model = upstream.embedded
    ? "an embedded n-gram model (vg-demo): real sampling, no real understanding; UPSTREAM_BASE_URL puts another behind it"
    : upstream.baseUrl;
  const databases = {
    embedded: `PostgreSQL, embedded, ${dataDir === undefined ? "its data goes at the end (DEMO_DATA_DIR keeps it)" : `its data stays in ${dataDir}`}`,
    configured: "PostgreSQL, from POSTGRES_DSN",
    none: "none: usage is not recorded",
  };
  return `
VaultGemma LocalAI ${SERVICE.version} listens on ${bound}
  model:    ${model}
  database: ${databases[database]}
  cache:    every completion, whatever its temperature (inferenceCacheMode: always); Cache-Status says what was served

Try it:
  curl -s ${url}/v2/chat/completions${json} -d '{"model":"auto","messages":[{"role":"user","content":"How do I index a table?"}]}'
  curl -sN ${url}/v1/chat/completions${json} -d '{"model":"general","stream":true,"messages":[{"role":"user","content":"What is a pool?"}]}'
  curl -s ${url}/v2/usage${key}

Ctrl-C stops it.

`;
}

main().catch((error: unknown) => {
  // The reason is what the reader needs; the stack only where the error is not one that we foresee.
  const { code, message, stack } = error as Error & { code?: string };
  const foreseen = code?.startsWith("ERR_VG") === true;
  process.stderr.write(`VaultGemma LocalAI cannot start: ${foreseen ? message : (stack ?? String(error))}\n`);
  process.exit(1);
});
