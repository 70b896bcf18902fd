import { closeSync, constants, fstatSync, openSync, writeSync } from "node:fs";

export interface Timer {
  cancel(): void;
}

/** What a descriptor's sink needs of the system. Tests bring their own. */
export interface System {
  /** @returns the bytes that were taken. @throws with the system's `code` */
  write(fd: number, data: string | Buffer): number;
  close(fd: number): void;
  /** Which file is open under that number, as far as it can be told. */
  identityOf(fd: number): string;
  /** Milliseconds that only go forward. */
  now(): number;
  /** Blocks this thread. A reader is another process, which goes on meanwhile. */
  pause(ms: number): void;
  /** @param keepsAlive whether the process waits for it */
  startTimer(callback: () => void, ms: number, keepsAlive: boolean): Timer;
}

const idle = new Int32Array(new SharedArrayBuffer(4));

export const realSystem: System = {
  write: (fd, data) => (typeof data === "string" ? writeSync(fd, data) : writeSync(fd, data)),
  close: closeSync,
  identityOf(fd) {
    try {
      const { dev, ino } = fstatSync(fd, { bigint: true });
      return `${dev}:${ino}`;
    } catch {
      return "closed";
    }
  },
  now: () => performance.now(),
  pause: (ms) => void Atomics.wait(idle, 0, 0, ms),
  startTimer(callback, ms, keepsAlive) {
    const timer = setTimeout(callback, ms);
    if (!keepsAlive) timer.unref();
    return { cancel: () => clearTimeout(timer) };
  },
};

/**
 * Standard output or error such that a write does not wait for a reader that is behind, where the system has a way. A
 * pipe gets another descriptor, of this process only: to change the pipe itself would change it for all that write to
 * it. A socket can only be changed itself, as Node does when `process.stdout` is first used.
 */
export function withoutWaiting(fd: 1 | 2): number {
  try {
    const kind = fstatSync(fd);
    if (kind.isSocket()) void (fd === 1 ? process.stdout : process.stderr).writable;
    if (process.platform === "linux" && kind.isFIFO()) {
      return openSync(`/proc/self/fd/${fd}`, constants.O_WRONLY | constants.O_NONBLOCK);
    }
  } catch {
    // Then it waits, as all other writers do.
  }
  return fd;
}
