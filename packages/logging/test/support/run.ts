import { spawn, type SpawnOptions } from "node:child_process";
import { fileURLToPath } from "node:url";

const PACKAGE = fileURLToPath(new URL("../..", import.meta.url));

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** Arguments for Node that run a program, given as its text, which may import "@vg/logging" from source. */
export const programArguments = (source: string): string[] => [
  "--conditions=@vg/source",
  "--input-type=module-typescript",
  "--eval",
  source,
];

export const spawnProgram = (source: string, options: SpawnOptions = {}) =>
  spawn(process.execPath, programArguments(source), { cwd: PACKAGE, ...options });

/** Runs a program to its end in a real process. */
export async function runProgram(source: string, options: SpawnOptions = {}): Promise<Ended> {
  return ended(spawnProgram(source, options));
}

export async function ended(child: ReturnType<typeof spawnProgram>): Promise<Ended> {
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
}

export const parseLines = (text: string): Record<string, unknown>[] =>
  text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
