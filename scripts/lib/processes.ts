/** Which processes descend from another: to prove that a command leaves none behind. */
import { capture } from "./run.ts";

export interface ProcessInfo {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
}

/** All processes of this machine, those apart that have ended and only wait for their parent to notice. */
async function allProcesses(): Promise<ProcessInfo[]> {
  const output = await capture("ps", ["-A", "-o", "pid=,ppid=,stat=,command="]);
  return output.split("\n").flatMap((line) => {
    const [, pid, parent, state, command] = /^\s*(\d+)\s+(\d+)\s+(\S+)\s+(.*)$/.exec(line) ?? [];
    if (pid === undefined || state === undefined || state.startsWith("Z")) return [];
    return [{ pid: Number(pid), parent: Number(parent), command: command ?? "" }];
  });
}

/** A process's children, their children and so on, itself included. */
export async function descendants(pid: number): Promise<ProcessInfo[]> {
  // 0 is no process of ours, and all others descend from 1.
  if (pid <= 1) return [];
  const all = await allProcesses();
  const found = all.filter((one) => one.pid === pid);
  for (const one of found) found.push(...all.filter(({ parent }) => parent === one.pid));
  return found;
}

/** Those that still run. A pid that another command has now is another process. */
export async function stillRunning(processes: readonly ProcessInfo[]): Promise<ProcessInfo[]> {
  const now = new Map((await allProcesses()).map((one) => [one.pid, one.command]));
  return processes.filter(({ pid, command }) => now.get(pid) === command);
}
