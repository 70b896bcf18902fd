/** A package registry of our own on this machine, for the length of a rehearsal. */
import { once } from "node:events";
import { cp, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { capture, hasEnded, run, start } from "./run.ts";
import { npmEnvironment, ROOT } from "./tools.ts";

const SCOPE = "@vg";
const FIXTURE = join(ROOT, "fixtures", "registry");
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 5_000;

export interface Registry extends AsyncDisposable {
  /** http://127.0.0.1:port/ */
  readonly url: string;
  /** A file for `npm_config_userconfig`: this registry, and the leave to publish to it. */
  readonly npmrc: string;
  /** An empty folder for `XDG_CONFIG_HOME`: pnpm's own settings, which win over an npmrc, are looked for there. */
  readonly configHome: string;
}

/** Installs and starts a registry that keeps everything in `folder`. It is stopped at the end of its scope. */
export async function startRegistry(folder: string): Promise<Registry> {
  const program = join(folder, "registry");
  const storage = join(folder, "storage");
  await cp(FIXTURE, program, { recursive: true, filter: (source) => !source.includes("node_modules") });
  await mkdir(storage);
  const env = npmEnvironment();
  await run("npm", ["ci", "--silent", "--prefer-offline"], { cwd: program, env });
  const upstream = (await capture("npm", ["config", "get", "registry"], { cwd: program, env })).trim();

  const child = start(process.execPath, ["start.js", storage, upstream], {
    cwd: program,
    env,
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const stop = async (): Promise<void> => {
    if (hasEnded(child)) return;
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await ended;
    clearTimeout(timer);
  };
  try {
    const [{ port }] = (await Promise.race([
      once(child, "message", { signal: AbortSignal.timeout(START_TIMEOUT_MS) }),
      once(child, "exit").then(([code]) => Promise.reject(new Error(`The registry ended at its start (${code})`))),
    ])) as [{ port: number }];
    const url = `http://127.0.0.1:${port}/`;
    const npmrc = join(folder, "npmrc");
    // The scope by name too: a registry that is set for it anywhere wins over one that is set for everything.
    const lines = [
      `registry=${url}`,
      `${SCOPE}:registry=${url}`,
      `//127.0.0.1:${port}/:_authToken=${await signUp(url)}`,
    ];
    await writeFile(npmrc, `${lines.join("\n")}\n`, { mode: 0o600 });
    const configHome = join(folder, "config");
    await mkdir(configHome);
    return { url, npmrc, configHome, [Symbol.asyncDispose]: stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Makes the registry's one user, as `npm adduser` would, and returns its token. */
async function signUp(url: string): Promise<string> {
  const name = "rehearsal";
  const response = await fetch(new URL(`-/user/org.couchdb.user:${name}`, url), {
    method: "PUT",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ name, password: crypto.randomUUID(), type: "user" }),
  });
  if (!response.ok) throw new Error(`The registry refused its user: ${response.status} ${await response.text()}`);
  const { token } = (await response.json()) as { token: string };
  return token;
}

/**
 * The environment of somebody whose only registry is this one. Every way to name a registry is used, so that nothing
 * that is only rehearsed can reach another; the caches are separate, so that everything really comes from it.
 */
export function registryEnvironment(
  base: NodeJS.ProcessEnv,
  registry: Pick<Registry, "url" | "npmrc" | "configHome">,
  cache: string,
): NodeJS.ProcessEnv {
  return {
    ...base,
    npm_config_userconfig: registry.npmrc,
    npm_config_registry: registry.url,
    pnpm_config_registry: registry.url,
    // Stands above every npmrc, where somebody may have set their own.
    [`npm_config_${SCOPE}:registry`]: registry.url,
    XDG_CONFIG_HOME: registry.configHome,
    npm_config_cache: cache,
  };
}
