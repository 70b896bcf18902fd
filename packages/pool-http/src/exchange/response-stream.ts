import { Readable, pipeline } from "node:stream";
import type { Attempt, BodySink } from "./attempt.ts";
import { decodeStreams } from "./decode.ts";
import { undecodable, type Failure } from "./failure.ts";

export interface StreamLimits {
  /** Until the first body byte: what is left of the deadline. */
  readonly firstByteMs: number;
  readonly gapMs: number;
  readonly totalMs: number;
  readonly timeoutMs: number;
  readonly now: () => number;
}

export type StreamOutcome = "complete" | "canceled" | Failure;

/**
 * A response body as it comes, with back-pressure to the socket. Three limits in turn: the request's deadline until
 * the first byte, then a gap limit that runs only while the reader wants more, and a limit for the whole.
 *
 * It is unread until somebody reads it, so nobody may be listening when it fails: that must not end the process.
 * Whoever reads gets the error.
 */
export class ResponseStream extends Readable implements BodySink {
  readonly #attempt: Attempt;
  readonly #limits: StreamLimits;
  readonly #toError: (failure: Failure) => unknown;
  readonly #onFinished: (outcome: StreamOutcome) => void;
  /** The end on the wire is not the end: it has to be inflated, which may fail. */
  readonly #inflated: boolean;
  /** What readers get, once it has failed. */
  thrown: unknown;
  #wireEnded = false;
  #outcome: StreamOutcome | undefined;
  #firstByteTimer: NodeJS.Timeout | undefined;
  #gapTimer: NodeJS.Timeout | undefined;
  readonly #totalTimer: NodeJS.Timeout;
  #lastByteAt = 0;
  #paused = false;

  constructor(
    attempt: Attempt,
    limits: StreamLimits,
    toError: (failure: Failure) => unknown,
    onFinished: (outcome: StreamOutcome) => void,
    inflated: boolean,
  ) {
    super({ highWaterMark: 64 * 1024 });
    this.#attempt = attempt;
    this.#limits = limits;
    this.#toError = toError;
    this.#onFinished = onFinished;
    this.#inflated = inflated;
    const { firstByteMs, timeoutMs, totalMs } = limits;
    this.#firstByteTimer = setTimeout(
      () => this.interrupt(timedOut("timeoutMs", `no body byte within timeoutMs (${timeoutMs} ms)`)),
      Math.max(0, firstByteMs),
    );
    this.#totalTimer = setTimeout(
      () => this.interrupt(timedOut("bodyTimeoutMs", `the body was not complete within bodyTimeoutMs (${totalMs} ms)`)),
      totalMs,
    );
    this.on("error", () => {});
  }

  /** Ends the stream from outside: a limit, the caller's signal, the pool's end. */
  interrupt(failure: Failure): void {
    if (this.#outcome !== undefined) return;
    this.#attempt.cancel(failure);
    this.fail(failure);
  }

  deliver(chunk: Buffer): boolean {
    if (this.#firstByteTimer !== undefined) {
      clearTimeout(this.#firstByteTimer);
      this.#firstByteTimer = undefined;
    }
    this.#lastByteAt = this.#limits.now();
    const more = this.push(chunk);
    this.#paused = !more;
    if (more) this.#watchGap();
    return more;
  }

  complete(): void {
    this.#wireEnded = true;
    clearTimeout(this.#firstByteTimer);
    clearTimeout(this.#gapTimer);
    if (!this.#inflated) this.finish("complete");
    this.push(null);
  }

  fail(failure: Failure): void {
    if (this.#outcome !== undefined) return;
    this.thrown = this.#toError(failure);
    this.finish(failure);
    this.destroy(this.thrown as Error);
  }

  override _read(): void {
    if (this.#paused) {
      this.#paused = false;
      this.#lastByteAt = this.#limits.now();
      this.#watchGap();
    }
    this.#attempt.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (!this.#wireEnded) {
      this.finish("canceled");
      this.#attempt.cancel({
        reason: "abort",
        phase: "body",
        code: "ABORT_ERR",
        detail: "the reader stopped",
        sent: true,
      });
    }
    callback(error);
  }

  /** The first outcome counts. */
  finish(outcome: StreamOutcome): void {
    if (this.#outcome !== undefined) return;
    this.#outcome = outcome;
    clearTimeout(this.#firstByteTimer);
    clearTimeout(this.#gapTimer);
    clearTimeout(this.#totalTimer);
    this.#onFinished(outcome);
  }

  #watchGap(): void {
    if (this.#gapTimer !== undefined || this.#outcome !== undefined) return;
    const { gapMs, now } = this.#limits;
    const wait = Math.max(1, this.#lastByteAt + gapMs - now());
    this.#gapTimer = setTimeout(() => {
      this.#gapTimer = undefined;
      // A reader that takes its time is no silence of the server.
      if (this.#paused) return;
      if (now() - this.#lastByteAt < gapMs) return this.#watchGap();
      this.interrupt(timedOut("bodyGapTimeoutMs", `nothing came for bodyGapTimeoutMs (${gapMs} ms)`));
    }, wait);
  }
}

/** The same stream, inflated; errors and cancellation pass through in both directions. */
export function inflate(stream: ResponseStream, layers: readonly string[]): Readable {
  const transforms = decodeStreams(layers);
  for (const transform of transforms) {
    transform.on("error", (error) => {
      // Where the stream itself failed, or its reader left, this is only the echo and changes nothing.
      stream.interrupt(undecodable(error));
    });
  }
  const last = transforms.at(-1) as Readable;
  pipeline([stream, ...transforms], () => {});
  const body = Readable.from(chunksOf(last, stream), { objectMode: false });
  body.once("close", () => {
    stream.finish("canceled");
    stream.destroy();
    last.destroy();
  });
  body.on("error", () => {});
  return body;
}

async function* chunksOf(last: Readable, stream: ResponseStream): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of last) yield chunk as Buffer;
    stream.finish("complete");
  } catch (error) {
    throw stream.thrown ?? error;
  }
}

function timedOut(limit: "timeoutMs" | "bodyTimeoutMs" | "bodyGapTimeoutMs", detail: string): Failure {
  return { reason: "timeout", phase: "body", code: "ERR_VG_HTTP_TIMEOUT", limit, detail, sent: true };
}
