import type { LogDestination } from "../config.ts";
import { codeOf, METADATA, type LineOwner, type Sink } from "./sink.ts";

const shared = new WeakMap<LogDestination, Sink>();

/** The sink of a stream; all loggers for that stream share it, and so its one listener for errors. */
export function sharedStream(stream: LogDestination): Sink {
  let sink = shared.get(stream);
  if (sink === undefined) shared.set(stream, (sink = new StreamSink(stream)));
  return sink;
}

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
class StreamSink implements Sink {
  readonly #stream: KnownStream;
  readonly #isNodeStream: boolean;
  #inFlight = 0;
  #waiting: (() => void)[] = [];
  lastFailure: string | null = null;
  readonly wantsMetadata: boolean;

  constructor(stream: LogDestination) {
    this.#stream = stream;
    this.#isNodeStream = typeof this.#stream.writableLength === "number" && typeof this.#stream.flush !== "function";
    this.wantsMetadata = this.#stream[METADATA] === true;
    if (typeof this.#stream.on === "function") {
      this.#stream.on("error", (error) => {
        this.lastFailure = codeOf(error);
      });
    }
  }

  write(line: string, owner: LineOwner): void {
    const stream = this.#stream;
    if ((stream.writableLength ?? 0) > MAX_BUFFERED_BYTES) {
      this.#drop(owner, "EAGAIN");
      return;
    }
    try {
      if (this.wantsMetadata) {
        const { lastLevel, lastObj, lastMsg, lastTime, lastLogger } = owner;
        Object.assign(stream, { lastLevel, lastObj, lastMsg, lastTime, lastLogger });
      }
      if (this.#isNodeStream) {
        this.#inFlight++;
        stream.write(line, (error) => this.#settle(owner, error));
        return;
      }
      const taken = stream.write(line);
      if (isThenable(taken)) {
        this.#inFlight++;
        // Left alone, its rejection would end the process.
        taken.then(
          () => this.#settle(owner, undefined),
          (error: unknown) => this.#settle(owner, error ?? new Error("rejected without a reason")),
        );
      }
    } catch (error) {
      if (this.#isNodeStream) this.#inFlight--;
      this.#drop(owner, codeOf(error));
    }
  }

  flushSync(): void {
    try {
      this.#stream.flushSync?.();
    } catch (error) {
      this.lastFailure = codeOf(error);
    }
  }

  async flush(): Promise<void> {
    if (this.#inFlight > 0) await new Promise<void>((resume) => this.#waiting.push(resume));
    if (typeof this.#stream.flush !== "function") return;
    await new Promise<void>((resume) => {
      try {
        this.#stream.flush?.(() => resume());
      } catch (error) {
        this.lastFailure = codeOf(error);
        resume();
      }
    });
  }

  close(): Promise<void> {
    return this.flush();
  }

  #settle(owner: LineOwner, error: unknown): void {
    this.#inFlight--;
    if (error !== undefined && error !== null) this.#drop(owner, codeOf(error));
    if (this.#inFlight === 0 && this.#waiting.length > 0) {
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const resume of waiting) resume();
    }
  }

  #drop(owner: LineOwner, code: string): void {
    owner.dropped++;
    this.lastFailure = code;
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}
