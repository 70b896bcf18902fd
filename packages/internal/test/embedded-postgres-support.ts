import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, realpath, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { onTestFinished } from "vitest";

/** A folder for one test that the server's user may enter, too; gone after the test. */
export async function testFolder(): Promise<string> {
  const folder = await realpath(await mkdtemp(join(tmpdir(), "vg-test-")));
  await chmod(folder, 0o755);
  onTestFinished(() => rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 }));
  return folder;
}

/** A process of its own, to be killed; the script finds `startEmbeddedPostgres` and `Guard`. */
export function runScript(script: string, temporary: string): ChildProcess {
  const preamble = `
    const { startEmbeddedPostgres } = await import(${source("embedded-postgres.ts")});
    const { Guard } = await import(${source("embedded-postgres/guard.ts")});
    setInterval(() => {}, 1000);
  `;
  const child = spawn(process.execPath, ["--input-type=module", "-e", preamble + script], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, TMPDIR: temporary },
  });
  onTestFinished(() => void child.kill("SIGKILL"));
  return child;
}

function source(path: string): string {
  return JSON.stringify(import.meta.resolve(`../src/${path}`));
}

/** What the script prints first. */
export async function firstOutput(child: ChildProcess): Promise<string> {
  const [text] = (await once(child.stdout?.setEncoding("utf8") as NodeJS.ReadableStream, "data")) as [string];
  return text.trim();
}

export async function kill(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
}

export function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

/** The command lines of the processes that were given something below the folder: servers and guards. */
export async function processesOn(folder: string): Promise<string[]> {
  const { stdout } = await promisify(execFile)("ps", ["-ww", "-e", "-o", "args="]);
  return stdout.split("\n").filter((line) => line.includes(`${folder}/`));
}
