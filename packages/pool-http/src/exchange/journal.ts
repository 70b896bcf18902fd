import type { HttpAttempt } from "../errors.ts";
import type { Clock } from "../options.ts";
import type { HttpTimings } from "../response.ts";
import type { Connection } from "../transport/connection.ts";
import type { Attempt } from "./attempt.ts";
import type { Failure } from "./failure.ts";

/** What happened to a request, in order and in milliseconds: for its response, its error and the statistics. */
export class Journal {
  readonly attempts: HttpAttempt[] = [];
  readonly #clock: Clock;
  readonly #startedAt: number;
  /** Set while an attempt is going on that has no entry yet. */
  #attemptStartedAt: number | undefined;
  #cause: HttpAttempt["cause"] = "first";
  #queueMs = 0;
  #connectMs = 0;
  #tlsMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startedAt = clock.now();
  }

  elapsedMs(): number {
    return this.#clock.now() - this.#startedAt;
  }

  /** Why the next attempt is made. */
  next(cause: HttpAttempt["cause"]): void {
    this.#cause = cause;
  }

  attemptStarted(): void {
    this.#attemptStartedAt = this.#clock.now();
  }

  /** Without effect between attempts, where a request may end as well. */
  attemptEnded(attempt: Attempt | undefined, failure?: Failure): void {
    if (this.#attemptStartedAt === undefined) return;
    this.attempts.push({
      number: this.attempts.length + 1,
      cause: this.#cause,
      started_ms: this.#attemptStartedAt - this.#startedAt,
      time_ms: this.#clock.now() - this.#attemptStartedAt,
      ...(attempt === undefined || attempt.status === 0 ? {} : { status: attempt.status }),
      ...(failure === undefined ? {} : { error_code: failure.code }),
    });
    this.#attemptStartedAt = undefined;
  }

  /** Splits a wait into the queue and the dial of the connection that ended it; returns the time in the queue. */
  waited(waitedMs: number, connection: Connection | undefined): number {
    let dialMs = 0;
    if (connection !== undefined && connection.served === 0) {
      const { connectMs, tlsMs } = connection.times;
      // The dial may have begun for somebody else, before this wait did.
      dialMs = Math.min(waitedMs, connectMs + tlsMs);
      const tlsPart = Math.min(dialMs, tlsMs);
      this.#tlsMs += tlsPart;
      this.#connectMs += dialMs - tlsPart;
    }
    const queueMs = waitedMs - dialMs;
    this.#queueMs += queueMs;
    return queueMs;
  }

  timings(respondedAt: number): HttpTimings {
    return {
      queue_ms: this.#queueMs,
      connect_ms: this.#connectMs,
      tls_ms: this.#tlsMs,
      first_byte_ms: respondedAt - this.#startedAt,
      total_ms: this.elapsedMs(),
    };
  }
}
