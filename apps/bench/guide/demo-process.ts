/** The demo in a process of its own, for the length of a measurement. */
import type { ChildProcess } from "node:child_process";
import { access } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { start } from "../../../scripts/lib/run.ts";

const DEMO = fileURLToPath(new URL("../../demo/src/main.ts", import.meta.url));
const START_TIMEOUT_MS = 60_000;

/** Is stopped at the end of its scope, and at the latest with this process. */
export interface DemoProcess extends AsyncDisposable {
  readonly url: string;
}

/** Starts a demo on a free port and waits until it is ready; `settings` are variables beside those that it always gets. */
export async function startDemo(settings: Readonly<Record<string, string>> = {}): Promise<DemoProcess> {
  await access(DEMO).catch(() => {
    throw new Error(`There is no demo at ${DEMO}`);
  });
  const child = start(process.execPath, [DEMO], {
    env: { ...demoEnvironment(process.env), ...settings },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exited = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  try {
    const url = await addressOf(child, exited);
    await untilReady(url);
    return { url, [Symbol.asyncDispose]: () => stopDemo(child, exited) };
  } catch (error) {
    await stopDemo(child, exited);
    throw error;
  }
}

// What a program needs to find its tools, its temporary folder and its user's language on any system.
const PASSED_ON =
  /^(PATH|PATHEXT|HOME|USER|LOGNAME|USERPROFILE|APPDATA|LOCALAPPDATA|SYSTEMROOT|TMPDIR|TEMP|TMP|TZ|LANG|LC_\w+|LD_LIBRARY_PATH)$/i;

/**
 * None of the caller's settings of the demo: a thousand completions must not go to a model that somebody pays for, their
 * usage rows not into somebody's database, and the figures are those of the defaults.
 */
export function demoEnvironment(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  const passed = Object.fromEntries(Object.entries(env).filter(([name]) => PASSED_ON.test(name)));
  // The rate limit is off because this is a load tool, which would measure only the limit.
  return { ...passed, HOST: "127.0.0.1", PORT: "0", RATE_LIMIT_PER_SECOND: "0", LOG_LEVEL: "warn" };
}

/** The demo says where it listens, once, in what it prints. */
async function addressOf(child: ChildProcess, exited: Promise<void>): Promise<string> {
  const output: string[] = [];
  const found = new Promise<string>((resolve) => {
    const look = (chunk: Buffer): void => {
      output.push(chunk.toString());
      const address = /^VaultGemma LocalAI \S+ listens on (http:\S+)$/m.exec(output.join(""))?.[1];
      if (address !== undefined) resolve(address);
    };
    child.stdout?.on("data", look);
    child.stderr?.on("data", look);
  });
  const failure = async (why: string): Promise<never> => {
    throw new Error(`The demo ${why}; it said:\n${output.join("").slice(-2000)}`);
  };
  return await Promise.race([
    found,
    exited.then(() => failure("ended at its start")),
    delay(START_TIMEOUT_MS, undefined, { ref: false }).then(() => failure("did not say where it listens")),
  ]);
}

async function untilReady(url: string): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    const status = await fetch(`${url}/readyz`).then(
      (response) => response.status,
      () => 0,
    );
    if (status === 200) return;
    if (performance.now() > deadline) throw new Error(`The demo was not ready in time (${url}/readyz: ${status})`);
    await delay(100);
  }
}

async function stopDemo(child: ChildProcess, exited: Promise<void>): Promise<void> {
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 15_000);
  await exited;
  clearTimeout(timer);
}
