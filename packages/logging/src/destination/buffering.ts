import { checkOptions, describeValue } from "@vg/internal";
import { LoggerConfigError } from "../errors.ts";

/** How lines are gathered before they are written. */
export interface BufferOptions {
  /**
   * Lines are written together when so many characters have come, 256 to 16,777,216. Default: 4,096, as a write of that
   * size to a pipe is not mixed with those of other processes.
   */
  sizeBytes?: number | undefined;
  /** A line waits no longer than this, 1 ms to 1 minute. Default: 1,000. */
  flushIntervalMs?: number | undefined;
  /**
   * What is kept while the destination takes nothing (its reader is behind, its disk is full), 4,096 to 1,073,741,824
   * bytes, and not less than `sizeBytes`. Beyond it lines are dropped, those of the lowest level first. Default: 16 MiB.
   */
  limitBytes?: number | undefined;
}

export interface Buffering {
  readonly sizeBytes: number;
  readonly flushIntervalMs: number;
  readonly limitBytes: number;
}

const fail = (message: string): LoggerConfigError => new LoggerConfigError(message);

/** @returns `undefined`: no buffering. @throws LoggerConfigError */
export function checkBuffer(value: unknown, destination: unknown): Buffering | undefined {
  if (value === undefined || value === false) return undefined;
  if (value !== true && (typeof value !== "object" || value === null || Array.isArray(value))) {
    throw fail(`createLogger: buffer must be true, false or an object, got ${describeValue(value)}.`);
  }
  if (typeof destination === "object") {
    throw fail(
      "createLogger: buffer needs a path or a file descriptor as destination, got an object with write(line). " +
        "Leave it out, or give that object a buffer of its own.",
    );
  }
  const check = checkOptions("createLogger: buffer", value === true ? {} : value, fail);
  const sizeBytes = check.integer("sizeBytes", { fallback: 4096, min: 256, max: 16 * 1024 * 1024 });
  const flushIntervalMs = check.durationMs("flushIntervalMs", { fallback: 1000, min: 1, max: 60_000 });
  const limitBytes = check.integer("limitBytes", {
    fallback: Math.max(16 * 1024 * 1024, sizeBytes),
    min: Math.max(4096, sizeBytes),
    max: 1024 * 1024 * 1024,
    hint: "It is not less than sizeBytes.",
  });
  check.noOthers();
  return { sizeBytes, flushIntervalMs, limitBytes };
}
