import { Readable, pipeline, type Transform } from "node:stream";
import type { Attempt, BodySink } from "./attempt.ts";
import type { Clock } from "../options.ts";
import { Limit, type DeadlineLines, type LimitOwner } from "./deadline-line.ts";
import { decodeStreams } from "./decode.ts";
import { tooLarge, undecodable, type Failure } from "../failure.ts";
import type { StreamControl } from "../response.ts";
import type { UnreadBody, WatchedStream } from "./leak-watch.ts";
import type { PreparedRequest } from "./request.ts";

export type StreamOutcome = "complete" | "canceled" | Failure;

/** Whose body it is. */
export interface StreamOwner {
  readonly clock: Clock;
  /** The first byte is here; until then the owner's deadline holds. */
  bodyBegan(): void;
  bodyEnded(outcome: StreamOutcome): void;
  /** What a reader gets. */
  toError(failure: Failure): unknown;
}

/** What a request says of its body. */
type StreamLimits = Pick<PreparedRequest, "firstGapMs" | "bodyGapTimeoutMs" | "bodyTimeoutMs">;

const OPTIONS = { highWaterMark: 64 * 1024 };

/**
 * A response body as it comes, with back-pressure to the socket. Three limits in turn: the request's deadline until
 * the first byte, then a gap limit that runs only while the reader wants more, and a limit for the whole.
 *
 * It is unread until somebody reads it, so nobody may be listening when it fails: that must not end the process.
 * Whoever reads gets the error. Nor does an unread stream keep the process alive: it is its socket that does so, from
 * the first read on, which is why no timer here has to.
 */
export class ResponseStream extends Readable implements BodySink, WatchedStream, StreamControl, LimitOwner {
  /** Set where somebody watches over it. */
  unread: UnreadBody | undefined;
  readonly #attempt: Attempt;
  readonly #owner: StreamOwner;
  readonly #limits: StreamLimits;
  /** What readers get, once it has failed. */
  thrown: unknown;
  wasRead = false;
  #wireEnded = false;
  #discarded = false;
  #reading = false;
  #outcome: StreamOutcome | undefined;
  #began = false;
  /** The buffer is full, and nobody takes from it. */
  #pausedSince: number | undefined;
  /** Both are without use where all of it has come before it was made, as is often so with a small one. */
  readonly #gap: Limit | undefined;
  readonly #total: Limit | undefined;

  constructor(attempt: Attempt, owner: StreamOwner, limits: StreamLimits, deadlines: DeadlineLines) {
    super(OPTIONS);
    this.#attempt = attempt;
    this.#owner = owner;
    this.#limits = limits;
    this.on("error", ignore);
    if (attempt.over) return;
    this.#gap = new Limit(deadlines.of(limits.bodyGapTimeoutMs), this);
    this.#total = new Limit(deadlines.of(limits.bodyTimeoutMs), this);
    this.#total.set();
    if (limits.firstGapMs !== undefined) this.#gap.set();
    // Not once the attempt is over: its connection may be somebody else's then.
    attempt.connection.setWanted(attempt, false);
  }

  /** It has ended well and without a byte: no encoding has such a form, but servers label empty bodies all the same. */
  get empty(): boolean {
    return this.#wireEnded && this.#attempt.bytesReceived === 0;
  }

  get isOver(): boolean {
    return this.#wireEnded || this.#outcome !== undefined;
  }

  get unreadSince(): number | undefined {
    if (this.isOver) return undefined;
    if (!this.wasRead) return this.#attempt.respondedAt;
    return this.#pausedSince;
  }

  /** The reader wants no more; resolves when the connection is kept or closed. */
  async discard(): Promise<void> {
    this.finish("canceled");
    this.#discarded = true;
    this.#keepAlive();
    const released = this.#attempt.discard();
    this.destroy();
    await released;
  }

  /** It is larger than what the reader takes into memory. */
  tooLarge(sizeBytes: number, limitBytes: number): void {
    this.refuse(tooLarge(sizeBytes, limitBytes));
  }

  /** It is no use to the reader. Counts even where the last byte has come already. */
  refuse(failure: Failure): void {
    if (this.#outcome !== "complete") return this.interrupt(failure);
    this.thrown ??= this.#owner.toError(failure);
    this.#owner.bodyEnded(failure);
  }

  limitPassed(limit: Limit): void {
    const { bodyGapTimeoutMs, bodyTimeoutMs } = this.#limits;
    if (limit === this.#total) {
      const detail = `the body was not complete within bodyTimeoutMs (${bodyTimeoutMs} ms)`;
      return this.interrupt(timedOut("bodyTimeoutMs", detail));
    }
    const what = this.#began ? "nothing came for" : "no body byte within";
    this.interrupt(timedOut("bodyGapTimeoutMs", `${what} bodyGapTimeoutMs (${bodyGapTimeoutMs} ms)`));
  }

  /** Ends the stream from outside: a limit, the caller's signal, the pool's end. */
  interrupt(failure: Failure): void {
    if (this.#outcome !== undefined) return;
    this.#attempt.cancel(failure);
    this.fail(failure);
  }

  deliver(chunk: Buffer): boolean {
    if (!this.#began) {
      this.#began = true;
      this.#owner.bodyBegan();
    }
    const more = this.push(chunk);
    // A reader that takes its time is no silence of the server.
    if (!more) {
      this.#gap?.callOff();
      this.#pausedSince = this.#owner.clock.now();
    } else if (this.#outcome === undefined) this.#gap?.set();
    return more;
  }

  complete(): void {
    // For the next request on this connection, if it comes before undici has seen that it was idle.
    this.#keepAlive();
    this.#wireEnded = true;
    this.#gap?.callOff();
    // Whether it can be inflated is seen when it is read, which may be never.
    this.finish("complete");
    this.push(null);
  }

  fail(failure: Failure): void {
    if (this.#outcome !== undefined) return;
    // Node takes a falsy reason of a signal for "no error", and would call the stream closed too early.
    this.thrown = this.#owner.toError(failure) || abortedWith(failure.cause);
    this.finish(failure);
    this.destroy(this.thrown as Error);
  }

  /** Node itself fills the buffer by `read(0)`; anything else is a reader. */
  override read(size?: number): ReturnType<Readable["read"]> {
    if (size !== 0 || this.readableFlowing !== null) {
      this.wasRead = true;
      this.#keepAlive();
    }
    return super.read(size);
  }

  override _read(): void {
    this.#pausedSince = undefined;
    if (this.#began && !this.#wireEnded && this.#outcome === undefined) this.#gap?.set();
    this.#attempt.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (!this.#wireEnded && !this.#discarded) {
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
    this.#gap?.callOff();
    this.#total?.callOff();
    this.#owner.bodyEnded(outcome);
  }

  #keepAlive(): void {
    if (this.#reading) return;
    this.#reading = true;
    if (!this.#wireEnded) this.#attempt.connection.setWanted(this.#attempt, true);
  }
}

/** The same stream, inflated as it is read; errors and cancellation pass through in both directions. */
export class InflatedStream extends Readable {
  readonly #stream: ResponseStream;
  readonly #transforms: readonly Transform[];
  readonly #last: Transform;
  #started = false;
  #completed = false;

  constructor(stream: ResponseStream, layers: readonly string[]) {
    super(OPTIONS);
    this.#stream = stream;
    this.#transforms = decodeStreams(layers);
    this.#last = this.#transforms.at(-1) as Transform;
    this.on("error", ignore);
    stream.once("close", () => {
      if (stream.thrown !== undefined) this.destroy(stream.thrown as Error);
    });
  }

  override _read(): void {
    if (!this.#started) this.#start();
    this.#last.resume();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#stream.finish("canceled");
    this.#stream.destroy();
    for (const transform of this.#transforms) transform.destroy();
    callback(error);
  }

  #start(): void {
    this.#started = true;
    for (const transform of this.#transforms) transform.on("error", this.#failed);
    this.#last.on("data", (chunk: Buffer) => {
      if (!this.push(chunk)) this.#last.pause();
    });
    this.#last.once("end", this.#complete);
    pipeline([this.#stream, ...this.#transforms], (error) => {
      if (error) this.#failed(error);
    });
  }

  readonly #failed = (error: Error): void => {
    if (this.#stream.empty) return this.#complete();
    // Where the stream itself failed, or its reader left, this is only the echo and changes nothing.
    this.#stream.refuse(undecodable(error));
    this.destroy((this.#stream.thrown as Error | undefined) ?? error);
  };

  readonly #complete = (): void => {
    if (this.#completed) return;
    this.#completed = true;
    this.push(null);
  };
}

function abortedWith(reason: unknown): Error {
  const error = new Error(`the signal was aborted with the reason ${String(reason)}`, { cause: reason });
  return Object.assign(error, { name: "AbortError", code: "ABORT_ERR" });
}

function ignore(): void {}

function timedOut(limit: "bodyTimeoutMs" | "bodyGapTimeoutMs", detail: string): Failure {
  return { reason: "timeout", phase: "body", code: "ERR_VG_HTTP_TIMEOUT", limit, detail, sent: true };
}
