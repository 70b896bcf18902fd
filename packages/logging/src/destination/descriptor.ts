import { closeSync, fstatSync, writeSync } from "node:fs";
import { codeOf, type LineOwner, type Sink } from "./sink.ts";

/** The numbers that loggers were given, and what was open under them then. */
const shared = new Map<number, { readonly file: string; readonly sink: DescriptorSink }>();

/** The sink of a descriptor of the user's; all loggers for the same open file share it. */
export function sharedDescriptor(fd: number): Sink {
  // A number is used again after its file was closed: what is left of the one before must not get into the next.
  const file = identityOf(fd);
  const known = shared.get(fd);
  if (known !== undefined && known.file === file && !known.sink.ended) return known.sink;
  const sink = new DescriptorSink(fd, false);
  shared.set(fd, { file, sink });
  return sink;
}

/** The sink of a descriptor that was opened for one logger, and is closed by it. */
export function closingDescriptor(fd: number): Sink {
  return new DescriptorSink(fd, true);
}

function identityOf(fd: number): string {
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return `${dev}:${ino}`;
  } catch {
    return "closed";
  }
}

/** How long a line may wait for a reader that is behind, before lines are dropped until it has caught up. */
const STALL_LIMIT_MS = 100;
const STALL_STEP_MS = 5;
/** After these the descriptor will never take another line. */
const FINAL = new Set(["EPIPE", "EBADF", "ECONNRESET", "ENXIO"]);

interface Rest {
  readonly bytes: Buffer;
  readonly owner: LineOwner;
}

/**
 * A file descriptor that is written to before the log call returns, so that a line is out before whatever ends the
 * process: return, exit, throw or signal.
 *
 * Invariant: the descriptor only ever gets whole lines. Of a line that was taken in part, the rest is kept and is the
 * first thing written next.
 */
class DescriptorSink implements Sink {
  readonly #fd: number;
  readonly #owned: boolean;
  #rest: Rest | undefined;
  /** The reader is behind: don't wait for it again until it has taken something. */
  #stalled = false;
  #watchesExit = false;
  ended = false;
  lastFailure: string | null = null;
  readonly wantsMetadata = false;

  constructor(fd: number, owned: boolean) {
    this.#fd = fd;
    this.#owned = owned;
  }

  write(line: string, owner: LineOwner): void {
    if (this.ended || (this.#rest !== undefined && !this.#writeRest())) {
      owner.dropped++;
      return;
    }
    const size = Buffer.byteLength(line);
    try {
      const written = writeSync(this.#fd, line);
      this.#stalled = false;
      if (written === size) return;
      this.#rest = { bytes: Buffer.from(line).subarray(written), owner };
    } catch (error) {
      if (!this.#retryLater(error)) {
        owner.dropped++;
        return;
      }
      this.#rest = { bytes: Buffer.from(line), owner };
    }
    if (this.#writeRest()) return;
    if (this.#rest?.bytes.length === size) {
      // Not a byte of it went out, so it need not be finished.
      this.#rest = undefined;
      owner.dropped++;
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
    if (this.#owned && !this.ended) {
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
      const { bytes, owner } = this.#rest;
      try {
        const written = writeSync(this.#fd, bytes);
        this.#stalled = false;
        this.#rest = written >= bytes.length ? undefined : { bytes: bytes.subarray(written), owner };
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
    this.ended = true;
    if (this.#rest !== undefined) this.#rest.owner.dropped++;
    this.#rest = undefined;
  }

  /** The last line before the end of the process may be waiting for its other half. */
  #finishAtExit(): void {
    if (this.#watchesExit) return;
    this.#watchesExit = true;
    process.once("exit", () => this.flushSync());
  }
}

const idle = new Int32Array(new SharedArrayBuffer(4));

/** Blocks this thread. The reader is another process, so it goes on meanwhile. */
function pause(ms: number): void {
  Atomics.wait(idle, 0, 0, ms);
}
