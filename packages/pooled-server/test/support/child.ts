import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished } from "vitest";

export interface Child {
  process: ChildProcess;
  url: string;
  output(): string;
  ended: Promise<{ code: number | null; signal: string | null }>;
}

/** Starts a program of `test/programs` and waits until it says where it listens; killed at the end of the test. */
export async function startProgram(name: string, ...words: string[]): Promise<Child> {
  const program = fileURLToPath(new URL(`../programs/${name}.ts`, import.meta.url));
  const child = spawn(process.execPath, ["--conditions=@vg/source", program, ...words], { stdio: "pipe" });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding("utf8").on("data", (text: string) => (output += text));
  }
  const ended = once(child, "close").then(() => ({ code: child.exitCode, signal: child.signalCode as string | null }));
  onTestFinished(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await ended;
  });
  await expect.poll(() => output, { timeout: 20_000 }).toMatch(/listens on \S+\n/);
  return {
    process: child,
    url: /listens on (\S+)/.exec(output)?.[1] as string,
    output: () => output,
    ended,
  };
}
