/** Running commands: what they print is shown or captured, a failure says which command failed, where and how. */
import { spawn, type ChildProcess, type SpawnOptions } from "node:child_process";
import { basename } from "node:path";
import { atExit } from "./cleanup.ts";

export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly command: string;
  /** All that the command printed, where it was captured. */
  readonly output: string;

  constructor(command: string, how: string, cwd: string, output: string) {
    const said = output.trim() === "" ? "" : `\n${output.trim()}`;
    super(`\`${command}\` ${how} (in ${cwd})${said}`);
    this.command = command;
    this.output = output;
  }
}

export interface RunOptions {
  /** Default: the folder of this process. */
  cwd?: string;
  /** The whole environment of the command. Default: that of this process. */
  env?: NodeJS.ProcessEnv;
  /** The command is told to end (SIGTERM) after so long. Default: never. */
  timeoutMs?: number;
}

/** Runs a command to its end with its output on ours. Rejects with CommandError when it fails. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<void> {
  await finish(command, args, options, ["ignore", "inherit", "inherit"]);
}

/** Runs a command to its end in silence; its output shows in the error when it fails. Returns what it wrote to stdout. */
export async function capture(command: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  return await finish(command, args, options, ["ignore", "pipe", "pipe"]);
}

/**
 * Starts a process that is ended with this one at the latest. With `detached` it leads a process group of its own, and
 * the whole group is ended.
 */
export function start(command: string, args: readonly string[], options: SpawnOptions): ChildProcess {
  const child = spawn(command, args, options);
  const forget = atExit(() => {
    if (child.pid === undefined || hasEnded(child)) return;
    process.kill(options.detached === true ? -child.pid : child.pid, "SIGTERM");
  });
  child.once("exit", forget);
  child.once("error", forget);
  return child;
}

export function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

function finish(
  command: string,
  args: readonly string[],
  { cwd = process.cwd(), env = process.env, timeoutMs }: RunOptions,
  stdio: SpawnOptions["stdio"],
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = start(command, args, { cwd, env, stdio });
    let late = false;
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            late = true;
            child.kill("SIGTERM");
          }, timeoutMs);
    let stdout = "";
    let all = "";
    child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
      all += text;
    });
    child.stderr?.setEncoding("utf8").on("data", (text: string) => (all += text));
    const fail = (how: string): void => reject(new CommandError([basename(command), ...args].join(" "), how, cwd, all));
    child.once("error", (error) => {
      clearTimeout(timer);
      fail(`could not be started: ${error.message}`);
    });
    child.once("close", (code, signal) => {
      clearTimeout(timer);
      if (late) fail(`did not end within ${(timeoutMs ?? 0) / 1000} s`);
      else if (code === 0) resolve(stdout);
      else fail(signal === null ? `failed with exit code ${code}` : `was ended by ${signal}`);
    });
  });
}
