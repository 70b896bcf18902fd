/**
 * Ctrl-C while 60 clients read streams: everybody gets a proper end, and nothing is left after `LIMIT_MS`.
 * A bound on real time, so it lives here and not among the tests.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const CLIENTS = 60;
/** The shutdown's own deadline is 10 s; a second on top for the processes behind it. */
const LIMIT_MS = 11_000;

const folder = await mkdtemp(join(tmpdir(), "vg-long-"));
await chmod(folder, 0o755);
const main = fileURLToPath(new URL("../src/main.ts", import.meta.url));
const demo = spawn(process.execPath, ["--conditions=@vg/source", main], {
  env: {
    PATH: process.env["PATH"],
    TMPDIR: folder,
    PORT: "0",
    RATE_LIMIT_PER_SECOND: "0",
    HTTP_MAX_CONNS_PER_HOST: "100",
    EMBEDDED_UPSTREAM_SLOTS: "64",
    EMBEDDED_UPSTREAM_QUEUE: "100",
    EMBEDDED_UPSTREAM_DECODE_MS_PER_TOKEN: "200",
  },
  stdio: ["ignore", "pipe", "inherit"],
});
process.on("exit", () => demo.kill("SIGKILL"));
let output = "";
demo.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
while (!output.includes("Ctrl-C stops it")) await once(demo.stdout, "data");
const url = /listens on (http:\/\/\S+)/.exec(output)?.[1];

const ask = async (i: number): Promise<string> => {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    body: JSON.stringify({
      stream: true,
      max_tokens: 1000,
      messages: [{ role: "user", content: `Tell me about ${i}` }],
    }),
  });
  return await response.text();
};
const answers = Array.from({ length: CLIENTS }, (_, i) => ask(i));
for (;;) {
  const metrics = await (await fetch(`${url}/metrics`)).text();
  if (metrics.includes(`http_server_active_requests ${CLIENTS}\n`)) break;
}
const start = performance.now();
demo.kill("SIGINT");
const ends = await Promise.allSettled(answers);
await once(demo, "close");
const took = performance.now() - start;

// A whole answer ends with [DONE]; one that was cut, with an error as its last event. Nobody's connection just broke.
const proper = ends.filter(
  (end) => end.status === "fulfilled" && /(\[DONE\]|"service_unavailable".*)\s*$/.test(end.value),
);
assert.equal(proper.length, CLIENTS, `${proper.length} of ${CLIENTS} streams had a proper end`);
assert.deepEqual(await readdir(folder), [], "nothing is left in the temporary folder");
assert.ok(took < LIMIT_MS, `it took ${Math.round(took)} ms, more than ${LIMIT_MS}`);
await rm(folder, { recursive: true });
console.log(`${CLIENTS} streams ended properly, ${Math.round(took)} ms after Ctrl-C`);
