import type { LogDestination } from "../config.ts";
import { EndWatch } from "./end-watch.ts";
import type { HoldsLines } from "./process-end.ts";
import { codeOf, Droppers, type FlushReport, METADATA, type LineOwner, type Sink } from "./sink.ts";
import { realSystem } from "./system.ts";

const shared = new WeakMap<LogDestination, Sink>();

/** The sink of a stream; all loggers for that stream share it, and so its one listener for errors. */
export function sharedStream(stream: LogDestination): Sink {
  let sink = shared.get(stream);
  if (sink === undefined) shared.set(stream, (sink = new StreamSink(stream)));
  return sink;
}

/** A stream that takes lines more slowly than they come must not fill the memory. */
const MAX_BUFFERED_BYTES = 16 * 1024 * 1024;

const IN_FLIGHT_MS = 10;

interface KnownStream extends LogDestination {
  write(line: string, done?: (error?: Error | null) => void): unknown;
  on?(event: "error", listener: (error: unknown) => void): unknown;
  flush?(done: () => void): unknown;
  flushSync?(): void;
  reopen?(): void;
  end?(): unknown;
  once?(event: "drain" | "error", listener: () => void): unknown;
  readonly writableLength?: number;
  readonly destroyed?: boolean;
  /** Of pino's own streams: a write is on its way. */
  readonly _writing?: boolean;
  /** Of pino's transports. */
  readonly worker?: unknown;
  /** Of `pino.multistream`. */
  readonly streams?: readonly { readonly stream: KnownStream }[];
  [METADATA]?: boolean;
}

/** A stream of the user's, who also ends it. Its errors are counted here instead of ending the process. */
class StreamSink implements Sink, HoldsLines {
  readonly #stream: KnownStream;
  readonly #isNodeStream: boolean;
  /** Whether a line may be lost when the process ends: what Node does with its own two streams is done at once. */
  readonly #canLose: boolean;
  readonly #droppers = new Droppers();
  /** Whether every line's end is told. pino's own streams only tell that of all. */
  readonly #tells: boolean;
  readonly #endWatch: EndWatch = new EndWatch(this, realSystem, () => this.#inFlight === 0);
  #written = 0;
  #inFlight = 0;
  #waiting: (() => void)[] = [];
  /** The last `flushSync` did not fail: whoever takes the lines is alive. */
  #isTaking = false;
  lastFailure: string | null = null;
  readonly wantsMetadata: boolean;

  constructor(stream: LogDestination) {
    this.#stream = stream;
    this.#isNodeStream = typeof this.#stream.writableLength === "number" && typeof this.#stream.flush !== "function";
    this.#canLose =
      (this.#isNodeStream && stream !== process.stdout && stream !== process.stderr) ||
      typeof this.#stream.flushSync === "function";
    this.#tells = typeof this.#stream.flush !== "function" && typeof this.#stream.flushSync !== "function";
    this.wantsMetadata = this.#stream[METADATA] === true;
    if (typeof this.#stream.on === "function") {
      this.#stream.on("error", (error) => {
        this.lastFailure = codeOf(error);
      });
    }
  }

  get bufferedBytes(): number {
    return this.#stream.writableLength ?? 0;
  }

  write(line: string, level: number, owner: LineOwner): void {
    const stream = this.#stream;
    if ((stream.writableLength ?? 0) > MAX_BUFFERED_BYTES) {
      this.#drop(owner, level, "EAGAIN");
      return;
    }
    this.#written++;
    if (this.#canLose) this.#endWatch.start();
    try {
      if (this.wantsMetadata) {
        const { lastLevel, lastObj, lastMsg, lastTime, lastLogger } = owner;
        Object.assign(stream, { lastLevel, lastObj, lastMsg, lastTime, lastLogger });
      }
      if (this.#isNodeStream) {
        this.#inFlight++;
        stream.write(line, (error) => this.#settle(owner, level, error));
        return;
      }
      const taken = stream.write(line);
      if (isThenable(taken)) {
        this.#inFlight++;
        this.#endWatch.start();
        // Left alone, its rejection would end the process.
        taken.then(
          () => this.#settle(owner, level, undefined),
          (error: unknown) => this.#settle(owner, level, error ?? new Error("rejected without a reason")),
        );
      } else if (!this.#droppers.isEmpty) {
        this.#droppers.report();
      }
    } catch (error) {
      if (this.#isNodeStream) this.#inFlight--;
      this.#drop(owner, level, codeOf(error));
      if (this.#tells) this.#endWatch.leaveSoon();
    }
  }

  flushSync(): void {
    try {
      this.#stream.flushSync?.();
      this.#isTaking = true;
    } catch (error) {
      this.lastFailure = codeOf(error);
      this.#isTaking = false;
    }
  }

  async flush(deadlineMs: number): Promise<FlushReport> {
    const before = this.#written;
    const isInTime = await this.#flushedWithin(deadlineMs);
    if (isInTime && this.#inFlight === 0 && this.#written === before) this.#endWatch.leave();
    return Object.freeze({ lines_left: this.#inFlight, bytes_left: this.#inFlight === 0 ? 0 : this.bufferedBytes });
  }

  async close(deadlineMs: number): Promise<FlushReport> {
    if (!this.#droppers.isEmpty && this.#stream.destroyed !== true) this.#droppers.report(true);
    const left = await this.flush(deadlineMs);
    this.#endWatch.leave();
    return left;
  }

  reopen(): boolean {
    if (typeof this.#stream.reopen !== "function") return false;
    try {
      this.#stream.reopen();
      return true;
    } catch (error) {
      this.lastFailure = codeOf(error);
      return false;
    }
  }

  flushAtEnd(last: boolean): void {
    // What another thread is writing comes out first, if it gets the time.
    if (last && this.#stream._writing === true) realSystem.pause(IN_FLIGHT_MS);
    this.flushSync();
  }

  settle(deadlineMs: number): Promise<unknown> | undefined {
    const canSettle = this.#inFlight > 0 || typeof this.#stream.flush === "function" || this.#stream.streams;
    return canSettle ? this.#flushedWithin(deadlineMs) : undefined;
  }

  /**
   * The flush of a transport with several targets, or a pipeline, is over when its thread has the lines; its end waits
   * until the targets have them. pino ends its transports at "exit", which a signal doesn't bring about.
   */
  complete(): void {
    if (!this.#isTaking) return;
    for (const stream of this.#streams()) {
      if (typeof stream.worker !== "object" || typeof stream.end !== "function") continue;
      try {
        stream.end();
      } catch (error) {
        this.lastFailure = codeOf(error);
      }
    }
  }

  async #flushedWithin(deadlineMs: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<boolean>((resume) => (timer = setTimeout(() => resume(false), deadlineMs)));
    const isInTime = await Promise.race([this.#flushed().then(() => true), deadline]);
    clearTimeout(timer);
    return isInTime;
  }

  async #flushed(): Promise<void> {
    if (this.#inFlight > 0) await new Promise<void>((resume) => this.#waiting.push(resume));
    await Promise.all(this.#streams().map((stream) => this.#flushOne(stream)));
  }

  /** Those of a `pino.multistream`, or the one. */
  #streams(): readonly KnownStream[] {
    const { streams } = this.#stream;
    return Array.isArray(streams) ? streams.map(({ stream }) => stream) : [this.#stream];
  }

  #flushOne(stream: KnownStream): Promise<void> {
    return new Promise((resume) => {
      const onceWritten = (): void => {
        // The flush of pino's own stream does not wait for a write that is on its way, unless it gathers lines.
        if (stream._writing !== true || typeof stream.once !== "function") return resume();
        stream.once("drain", resume);
        stream.once("error", resume);
      };
      if (typeof stream.flush !== "function") return resume();
      try {
        stream.flush(onceWritten);
      } catch (error) {
        this.lastFailure = codeOf(error);
        resume();
      }
    });
  }

  #settle(owner: LineOwner, level: number, error: unknown): void {
    this.#inFlight--;
    if (error !== undefined && error !== null) this.#drop(owner, level, codeOf(error));
    else if (!this.#droppers.isEmpty) this.#droppers.report();
    if (this.#inFlight > 0) return;
    if (this.#tells) this.#endWatch.leaveSoon();
    if (this.#waiting.length === 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resume of waiting) resume();
  }

  #drop(owner: LineOwner, level: number, code: string): void {
    this.lastFailure = code;
    this.#droppers.drop(owner, level, code);
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}
