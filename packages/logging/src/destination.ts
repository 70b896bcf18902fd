import { checkOptions } from "@vg/internal";
import type { Settings } from "./config.ts";
import type { Buffering } from "./destination/buffering.ts";
import { DropCount, type DropReport } from "./destination/drop-count.ts";
import { closingDescriptor, sharedDescriptor } from "./destination/open-descriptor.ts";
import { codeOf, type FlushReport, METADATA, type LineOwner, type Sink } from "./destination/sink.ts";
import { sharedStream } from "./destination/stream.ts";
import { LoggerConfigError, LoggerDestinationError } from "./errors.ts";
import { LEVEL_NUMBERS } from "./levels.ts";
import { safeNow } from "./safe-now.ts";

/** `deadlineMs`: how long to wait for a destination that is behind. Default: 5,000. */
export interface FlushOptions {
  readonly deadlineMs?: number | undefined;
}

/**
 * Where the lines of one logger and its children go. Nothing here throws once it is open: a line that can't be written
 * is dropped and counted.
 */
export interface Destination {
  /** @param level pino's number; who writes without one is taken to inform */
  write(line: string, level?: number): void;
  /** Writes what is still held back, as far as that goes without waiting for others. */
  flushSync(): void;
  /** Settles when all lines have been taken or dropped, or at the deadline. Rejects only for options that make no sense. */
  flush(options?: FlushOptions): Promise<FlushReport>;
  /** Flushes, and releases what was opened here. Idempotent. */
  close(options?: FlushOptions): Promise<FlushReport>;
  /** Opens the file of a path anew, after a rotation. */
  reopen(): boolean;
  /** Takes what logs a line about lines that were dropped. */
  reportDropsWith(log: (report: DropReport) => void): void;
  readonly drops: DropCount;
  readonly bufferedBytes: number;
  /** The code of the last failure, as "EPIPE". */
  readonly lastFailure: string | null;
}

/** @throws LoggerDestinationError */
export function openDestination(settings: Settings): Destination {
  return new SharedDestination(openSink(settings), settings);
}

function openSink({ destination, buffering }: Settings): Sink {
  if (typeof destination === "number") return sharedDescriptor(destination, buffering !== undefined);
  if (typeof destination === "object") return sharedStream(destination);
  try {
    return closingDescriptor(destination);
  } catch (error) {
    const code = codeOf(error);
    const remedy = code === "ENOENT" ? "Create its folder first." : "Check that this user may write there.";
    throw new LoggerDestinationError(
      `createLogger: cannot open ${JSON.stringify(destination)} for the log (${code}). ${remedy}`,
      { cause: error },
    );
  }
}

const DEFAULT_DEADLINE_MS = 5000;

/**
 * Several loggers may write to one descriptor or stream. What is of that one thing (the lines that wait for it, the
 * listener for its errors) is in the sink that they share; what they count is each one's own.
 */
class SharedDestination implements Destination, LineOwner {
  readonly #sink: Sink;
  #log: ((report: DropReport) => void) | undefined;
  readonly buffering: Buffering | undefined;
  readonly drops: DropCount;

  // Set before each write where METADATA is true.
  lastLevel?: number;
  lastObj?: unknown;
  lastMsg?: unknown;
  lastTime?: unknown;
  lastLogger?: unknown;
  readonly [METADATA]: boolean;

  constructor(sink: Sink, { buffering, clock }: Settings) {
    this.#sink = sink;
    this.buffering = buffering;
    this.drops = new DropCount({ now: safeNow(clock) });
    this[METADATA] = sink.wantsMetadata;
  }

  write(line: string, level: number = LEVEL_NUMBERS.info): void {
    this.#sink.write(line, level, this);
  }

  drop(level: number, reason: string): void {
    this.drops.add(level, reason);
  }

  reportDropsWith(log: (report: DropReport) => void): void {
    this.#log = log;
  }

  reportDrops(now: boolean): boolean {
    if (this.#log === undefined) return true;
    const report = this.drops.due(now);
    if (report === undefined) return false;
    const lost = this.#lostReports;
    this.#log(report);
    // A report may be lost, too: then it is told with the next one, and with this line.
    if (this.#lostReports !== lost) return false;
    this.drops.told(report);
    return true;
  }

  /** Lines of the reports' level: a line of a lower one may make room for a report. */
  get #lostReports(): number {
    return this.drops.byLevel.get(LEVEL_NUMBERS.warn) ?? 0;
  }

  flushSync(): void {
    this.#sink.flushSync();
  }

  async flush(options?: FlushOptions): Promise<FlushReport> {
    return this.#sink.flush(deadlineOf("flush", options));
  }

  async close(options?: FlushOptions): Promise<FlushReport> {
    return this.#sink.close(deadlineOf("close", options));
  }

  reopen(): boolean {
    return this.#sink.reopen();
  }

  get bufferedBytes(): number {
    return this.#sink.bufferedBytes;
  }

  get lastFailure(): string | null {
    return this.#sink.lastFailure;
  }
}

function deadlineOf(method: string, options: unknown): number {
  const check = checkOptions(`Logger: ${method}`, options ?? {}, (message) => new LoggerConfigError(message));
  const deadlineMs = check.durationMs("deadlineMs", { fallback: DEFAULT_DEADLINE_MS });
  check.noOthers();
  return deadlineMs;
}
