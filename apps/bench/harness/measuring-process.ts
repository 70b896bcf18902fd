import { fork } from "node:child_process";
import { fileURLToPath } from "node:url";
import { atExit } from "../../../scripts/lib/cleanup.ts";

/** A process that says nothing for this long has failed. */
const TIMEOUT_MS = 180_000;

/**
 * Runs a module in a process of its own, with a collector that can be called, and returns the one message that it sends:
 * see `measured`. Rejects when it ends without one. `flags` are Node.js's own, for that process.
 */
export async function measureInProcess<T>(module: URL, task: object, flags: readonly string[] = []): Promise<T> {
  const child = fork(fileURLToPath(module), [JSON.stringify(task)], {
    execArgv: ["--expose-gc", ...flags],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  const forget = atExit(() => child.kill("SIGKILL"));
  const what = JSON.stringify(task);
  try {
    return await new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`no result within ${TIMEOUT_MS / 1000} s: ${what}`)), TIMEOUT_MS);
      child.once("message", (message) => resolve(message as T));
      child.once("error", reject);
      child.once("exit", (code, signal) => {
        clearTimeout(timer);
        reject(new Error(`the process ended (${signal ?? `exit code ${code}`}): ${what}`));
      });
    });
  } finally {
    child.kill("SIGKILL");
    forget();
  }
}

/** The other end: gives `measure` the task of this process, and sends its result to the parent. */
export async function measured<T>(measure: (task: T) => object | Promise<object>): Promise<void> {
  const result = await measure(JSON.parse(process.argv[2] ?? "null") as T);
  process.send?.(result);
}
