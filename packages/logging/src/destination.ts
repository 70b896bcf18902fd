import { closeSync, openSync, writeSync } from "node:fs";
import type { LogDestination } from "./config.ts";
import { LoggerDestinationError } from "./errors.ts";

/** Where lines go. Nothing here throws once it is open: a line that can't be written is dropped and counted. */
export interface Destination {
  write(line: string): void;
  /** Writes what is still held back, as far as that goes without waiting for others. */
  flushSync(): void;
  /** Settles when all lines have been taken or dropped. Never rejects. */
  flush(): Promise<void>;
  /** Flushes, and releases what was opened here. Idempotent. */
  close(): Promise<void>;
  readonly dropped: number;
  /** The code of the last failure, as "EPIPE". */
  readonly lastFailure: string | null;
}

/** @throws LoggerDestinationError */
export function openDestination(target: string | number | LogDestination): Destination {
  if (typeof target === "number") return new FileDestination(target, false);
  if (typeof target === "object") return new StreamDestination(target);
  try {
    return new FileDestination(openSync(target, "a"), true);
  } catch (error) {
    const code = codeOf(error);
    const remedy = code === "ENOENT" ? "Create its folder first." : "Check that this user may write there.";
    throw new LoggerDestinationError(
      `createLogger: cannot open ${JSON.stringify(target)} for the log (${code}). ${remedy}`,
      { cause: error },
    );
  }
}

/** How long a line may wait for a reader that is behind, before lines are dropped until it has caught up. */
const STALL_LIMIT_MS = 100;
const STALL_STEP_MS = 5;
/** After these the descriptor will never take another line. */
const FINAL = new Set(["EPIPE", "EBADF", "ECONNRESET", "ENXIO"]);

/**
 * A file descriptor that is written to before the log call returns, so that a line is out before whatever ends the
 * process: return, exit, throw or signal.
 *
 * Invariant: the descriptor only ever gets whole lines. Of a line that was taken in part, the rest is kept and is the
 * first thing written next.
 */
class FileDestination implements Destination {
  readonly #fd: number;
  readonly #owned: boolean;
  #rest: Buffer | undefined;
  /** The reader is behind: don't wait for it again until it has taken something. */
  #stalled = false;
  #ended = false;
  #watchesExit = false;
  dropped = 0;
  lastFailure: string | null = null;

  constructor(fd: number, owned: boolean) {
    this.#fd = fd;
    this.#owned = owned;
  }

  write(line: string): void {
    if (this.#ended || (this.#rest !== undefined && !this.#writeRest())) {
      this.dropped++;
      return;
    }
    const size = Buffer.byteLength(line);
    try {
      const written = writeSync(this.#fd, line);
      this.#stalled = false;
      if (written === size) return;
      this.#rest = Buffer.from(line).subarray(written);
    } catch (error) {
      if (!this.#retryLater(error)) {
        this.dropped++;
        return;
      }
      this.#rest = Buffer.from(line);
    }
    if (this.#writeRest()) return;
    if (this.#rest?.length === size) {
      // Not a byte of it went out, so it need not be finished.
      this.#rest = undefined;
      this.dropped++;
    } else {
      this.#finishAtExit();
    }
  }

  flushSync(): void {
    if (this.#rest === undefined) return;
    this.#stalled = false;
    this.#writeRest();
  }

  flush(): Promise<void> {
    this.flushSync();
    return Promise.resolve();
  }

  close(): Promise<void> {
    this.flushSync();
    if (this.#owned && !this.#ended) {
      this.#end();
      try {
        closeSync(this.#fd);
      } catch (error) {
        this.lastFailure = codeOf(error);
      }
    }
    return Promise.resolve();
  }

  /** Whether the descriptor has taken all of `#rest`. */
  #writeRest(): boolean {
    let waited = 0;
    while (this.#rest !== undefined) {
      try {
        const written = writeSync(this.#fd, this.#rest);
        this.#stalled = false;
        this.#rest = written >= this.#rest.length ? undefined : this.#rest.subarray(written);
      } catch (error) {
        if (!this.#retryLater(error)) return false;
        if (this.#stalled || waited >= STALL_LIMIT_MS) {
          this.#stalled = true;
          return false;
        }
        pause(STALL_STEP_MS);
        waited += STALL_STEP_MS;
      }
    }
    return true;
  }

  /** Notes a failure; whether it is only that the reader is behind. */
  #retryLater(error: unknown): boolean {
    const code = codeOf(error);
    this.lastFailure = code;
    if (FINAL.has(code)) this.#end();
    return code === "EAGAIN" || code === "EBUSY";
  }

  #end(): void {
    this.#ended = true;
    if (this.#rest !== undefined) this.dropped++;
    this.#rest = undefined;
  }

  /** The last line before the end of the process may be waiting for its other half. */
  #finishAtExit(): void {
    if (this.#watchesExit) return;
    this.#watchesExit = true;
    process.once("exit", () => this.flushSync());
  }
}

/** pino's name for streams that want to know the level of the line; `pino.multistream` is one. */
const METADATA = Symbol.for("pino.metadata");
/** A stream that takes lines more slowly than they come must not fill the memory. */
const MAX_BUFFERED_BYTES = 16 * 1024 * 1024;

interface KnownStream extends LogDestination {
  write(line: string, done?: (error?: Error | null) => void): unknown;
  on?(event: "error", listener: (error: unknown) => void): unknown;
  flush?(done: () => void): unknown;
  flushSync?(): void;
  readonly writableLength?: number;
  [METADATA]?: boolean;
}

/** A stream of the user's, who also ends it. Its errors are counted here instead of ending the process. */
class StreamDestination implements Destination {
  readonly #stream: KnownStream;
  readonly #isNodeStream: boolean;
  #inFlight = 0;
  #waiting: (() => void)[] = [];
  dropped = 0;
  lastFailure: string | null = null;

  // Set by pino before each write where METADATA is true.
  lastLevel?: number;
  lastObj?: unknown;
  lastMsg?: unknown;
  lastTime?: unknown;
  lastLogger?: unknown;
  readonly [METADATA]: boolean;

  constructor(stream: LogDestination) {
    this.#stream = stream;
    this.#isNodeStream = typeof this.#stream.writableLength === "number" && typeof this.#stream.flush !== "function";
    this[METADATA] = this.#stream[METADATA] === true;
    if (typeof this.#stream.on === "function") {
      this.#stream.on("error", (error) => {
        this.lastFailure = codeOf(error);
      });
    }
  }

  write(line: string): void {
    const stream = this.#stream;
    if ((stream.writableLength ?? 0) > MAX_BUFFERED_BYTES) {
      this.dropped++;
      this.lastFailure = "EAGAIN";
      return;
    }
    try {
      if (this[METADATA]) {
        const { lastLevel, lastObj, lastMsg, lastTime, lastLogger } = this;
        Object.assign(stream, { lastLevel, lastObj, lastMsg, lastTime, lastLogger });
      }
      if (this.#isNodeStream) {
        this.#inFlight++;
        stream.write(line, this.#done);
      } else {
        stream.write(line);
      }
    } catch (error) {
      if (this.#isNodeStream) this.#inFlight--;
      this.dropped++;
      this.lastFailure = codeOf(error);
    }
  }

  readonly #done = (error?: Error | null): void => {
    this.#inFlight--;
    if (error !== undefined && error !== null) {
      this.dropped++;
      this.lastFailure = codeOf(error);
    }
    if (this.#inFlight === 0 && this.#waiting.length > 0) {
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const resume of waiting) resume();
    }
  };

  flushSync(): void {
    try {
      this.#stream.flushSync?.();
    } catch (error) {
      this.lastFailure = codeOf(error);
    }
  }

  flush(): Promise<void> {
    if (this.#isNodeStream) {
      return this.#inFlight === 0 ? Promise.resolve() : new Promise((resume) => this.#waiting.push(resume));
    }
    return new Promise((resume) => {
      try {
        if (typeof this.#stream.flush === "function") this.#stream.flush(() => resume());
        else resume();
      } catch (error) {
        this.lastFailure = codeOf(error);
        resume();
      }
    });
  }

  close(): Promise<void> {
    return this.flush();
  }
}

const idle = new Int32Array(new SharedArrayBuffer(4));

/** Blocks this thread. The reader is another process, so it goes on meanwhile. */
function pause(ms: number): void {
  Atomics.wait(idle, 0, 0, ms);
}

function codeOf(error: unknown): string {
  const code: unknown = typeof error === "object" && error !== null ? (error as { code?: unknown }).code : undefined;
  return typeof code === "string" ? code : "UNKNOWN";
}
