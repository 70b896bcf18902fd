/** What somebody sees who clones the repository and types the two commands of its README. */
import { chmod, readdir } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { descendants, stillRunning, type ProcessInfo } from "./processes.ts";
import { capture } from "./run.ts";
import type { StepContext } from "./steps.ts";
import { temporaryFolder } from "./temporary-folder.ts";
import { plainEnvironment, ROOT } from "./tools.ts";
import { WatchedCommand } from "./watched-command.ts";

// pnpm echoes the script that it is about to run; by then it has installed what was missing.
const INSTALLED = /^[$>] (vitest|pnpm|turbo|node)\b/;
const BUILT = /^\s*Tasks:\s+(\d+) successful, \1 total/;
const LISTENING = /listens on (http:\S+)/;
const TESTED = /^\d+ passed, 0 failed, \d+ skipped$/;

const START_TIMEOUT_MS = 5 * 60_000;
const END_TIMEOUT_MS = 10_000;

/** `npx -y pnpm@12 test` */
export async function testOfCleanClone({ note, part }: StepContext): Promise<void> {
  // Only its owner may enter it, as is usual for a home folder, but not for what PostgreSQL's own user must reach.
  await using clone = await temporaryFolder("clone");
  await cloneInto(clone.path);
  const command = new WatchedCommand("npx", ["-y", "pnpm@12", "test"], { cwd: clone.path, env: plainEnvironment() });
  const ended = await command.end();
  const installed = command.find(INSTALLED)?.ms ?? 0;
  part("install", installed);
  part("tests", command.elapsedMs - installed);
  if (ended !== 0) throw new Error(`npx -y pnpm@12 test ended with ${ended}`);
  const closing = command.find(TESTED);
  if (closing === undefined)
    throw new Error("The tests did not close with a line such as `9 passed, 0 failed, 0 skipped`");
  note(closing.match[0]);
}

/** `npx -y pnpm@12 demo`, a completion, Ctrl-C. */
export async function demoOfCleanClone({ note, part }: StepContext): Promise<void> {
  await using clone = await temporaryFolder("clone");
  await cloneInto(clone.path);
  // A temporary folder for the demo alone shows what it leaves there. PostgreSQL's own user must be able to enter it.
  await using scratch = await temporaryFolder("demo");
  await chmod(scratch.path, 0o755);
  const env = { ...plainEnvironment(), PORT: "0", TMPDIR: scratch.path };
  const command = new WatchedCommand("npx", ["-y", "pnpm@12", "demo"], { cwd: clone.path, env });
  let processes: ProcessInfo[] = [];
  try {
    const { ms: listening, match } = await command.line(LISTENING, START_TIMEOUT_MS);
    const answer = await askForCompletion(match[1] ?? "");
    const answered = command.elapsedMs;
    const installed = command.find(INSTALLED)?.ms ?? 0;
    const built = command.find(BUILT)?.ms ?? installed;
    part("install", installed);
    part("build", built - installed);
    part("start", listening - built);
    part("first answer", answered - listening);

    processes = await descendants(command.pid);
    const from = performance.now();
    command.interrupt();
    const left = await endOf(processes);
    part("end after Ctrl-C", performance.now() - from);
    if (left.length > 0) throw new Error(`${END_TIMEOUT_MS / 1000} s after Ctrl-C there still ran:\n${list(left)}`);
    await command.end();
    const folders = (await readdir(scratch.path)).filter((name) => name.startsWith("vg-"));
    if (folders.length > 0) throw new Error(`The demo left folders behind: ${folders.join(", ")}`);
    note(`answered ${JSON.stringify(answer.slice(0, 40))}; left no process of ${processes.length} and no folder`);
  } finally {
    // Nothing, unless something above has failed.
    for (const { pid } of await stillRunning([...processes, ...(await descendants(command.pid))])) kill(pid);
  }
}

async function cloneInto(folder: string): Promise<void> {
  await capture("git", ["clone", "--quiet", "--no-hardlinks", ROOT, folder]);
}

/** Rejects unless there is a text in the answer. */
async function askForCompletion(url: string): Promise<string> {
  const response = await fetch(new URL("/v1/chat/completions", url), {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "auto", max_tokens: 32, messages: [{ role: "user", content: "What is a pool?" }] }),
    signal: AbortSignal.timeout(60_000),
  });
  const text = await response.text();
  if (!response.ok) throw new Error(`The demo answered ${response.status}: ${text}`);
  const { choices } = JSON.parse(text) as { choices?: { message?: { content?: string } }[] };
  const content = choices?.[0]?.message?.content;
  if (content === undefined || content === "") throw new Error(`There is no text in the demo's answer: ${text}`);
  return content;
}

/** Waits until all of them have ended, and returns those that have not when the time is over. */
async function endOf(processes: readonly ProcessInfo[]): Promise<ProcessInfo[]> {
  const deadline = performance.now() + END_TIMEOUT_MS;
  for (;;) {
    const left = await stillRunning(processes);
    if (left.length === 0 || performance.now() > deadline) return left;
    await delay(100);
  }
}

function list(processes: readonly ProcessInfo[]): string {
  return processes.map(({ pid, command }) => `  ${pid} ${command}`).join("\n");
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has just ended.
  }
}
