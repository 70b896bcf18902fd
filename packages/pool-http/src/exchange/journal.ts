import { channels } from "../diagnostics.ts";
import type { HttpAttempt, HttpNotRetried, HttpPhase, HttpPhaseTimes } from "../errors.ts";
import type { ResolvedOptions } from "../options.ts";
import type { HttpTimings } from "../response.ts";
import type { StatsRecorder } from "../stats.ts";
import type { OriginCounters } from "../stats/counters.ts";
import { Connection } from "../transport/connection.ts";
import type { Waiter } from "../transport/transport.ts";
import type { Attempt } from "./attempt.ts";
import type { Failure } from "../failure.ts";
import type { LeakListener } from "./leak-watch.ts";
import { RequestEvents, type AboutRequest } from "./request-events.ts";
import type { RetryCause } from "./retry-policy.ts";
import { describeRequest } from "./target.ts";

/** Whom a journal tells. */
export interface JournalContext {
  readonly options: Pick<ResolvedOptions, "name" | "clock" | "logger">;
  readonly recorder: StatsRecorder;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/**
 * What happened to a request, in order and in milliseconds: for its response, its error, the statistics and the
 * channels of diagnostics_channel. Of the attempt that goes on, or was the last, it keeps plain numbers; an entry is
 * made of them when another begins or somebody asks, which for most requests is never.
 */
export class Journal implements LeakListener {
  /** For the statistics. */
  readonly counters: OriginCounters;
  readonly #context: JournalContext;
  readonly #startedAt: number;
  #about: AboutRequest;
  #events: RequestEvents | undefined;
  /** Of the attempts before the present one; with it, once it has an entry. */
  #entries: Mutable<HttpAttempt>[] | undefined;
  #hasEntry = true;
  #retries = 0;

  #attempting = false;
  #cause: HttpAttempt["cause"] = "first";
  #nextCause: HttpAttempt["cause"] = "first";
  #attemptedAt = 0;
  #backoffMs = 0;
  #queueMs = 0;
  #connectMs = 0;
  #tlsMs = 0;
  #hasConnection = false;
  #leasedAt = 0;
  #respondedAt = 0;
  #endedAt = 0;
  #reused = false;
  #sent = false;
  #status = 0;
  #errorCode: string | undefined;
  #notRetried: HttpNotRetried | undefined;

  constructor(context: JournalContext, about: AboutRequest) {
    this.#context = context;
    this.#about = about;
    this.#startedAt = this.#now();
    this.counters = context.recorder.begin(about.target.origin);
    if (channels.requestStart.hasSubscribers) this.#tell().started();
  }

  get startedAt(): number {
    return this.#startedAt;
  }

  /** Every attempt that has ended, in order. */
  get attempts(): readonly HttpAttempt[] {
    if (!this.#attempting && !this.#hasEntry) {
      this.#entries ??= [];
      this.#entries.push(this.#entry());
      this.#hasEntry = true;
    }
    return this.#entries ?? [];
  }

  /** Whether any part of the request left, in any attempt. */
  get sent(): boolean {
    return this.attempts.some((attempt) => attempt.sent);
  }

  elapsedMs(): number {
    return this.#now() - this.#startedAt;
  }

  // ---- what happens

  attemptStarted(): void {
    const first = this.#entries === undefined && this.#hasEntry;
    const now = first ? this.#startedAt : this.#now();
    if (!first) this.#begin(now);
    this.#hasEntry = false;
    this.#attempting = true;
    this.#attemptedAt = now;
    this.counters.attemptBegan();
  }

  /** There was a connection at once. */
  leased(connection: Connection): void {
    this.counters.waited(0);
    this.#got(connection, this.#attemptedAt);
  }

  /** A wait for a connection is over; splits it into the queue and the dial. */
  waited(waiter: Waiter, result: Connection | Failure): void {
    const now = this.#now();
    const waitedMs = now - this.#attemptedAt;
    if (result instanceof Connection) {
      this.#got(result, now);
      if (result.served === 0) {
        // The dial may have begun for somebody else, before this wait did.
        const { connectMs, tlsMs } = result.times;
        this.#tlsMs = Math.min(waitedMs, tlsMs);
        this.#connectMs = Math.min(waitedMs - this.#tlsMs, connectMs);
      }
    } else if (waiter.lastDial !== undefined) {
      const { startedAt, connectedAt } = waiter.lastDial;
      this.#tlsMs = connectedAt === undefined ? 0 : Math.min(waitedMs, now - connectedAt);
      this.#connectMs = Math.min(waitedMs - this.#tlsMs, now - startedAt - this.#tlsMs);
    }
    this.#queueMs = waitedMs - this.#connectMs - this.#tlsMs;
    this.counters.waited(this.#queueMs);
    if (channels.queue.hasSubscribers) {
      this.#tell().waited(this.#queueMs, this.#connectMs, this.#tlsMs, result instanceof Connection);
    }
  }

  /** Without effect between attempts, where a request may end as well. */
  attemptEnded(attempt: Attempt | undefined, failure?: Failure): void {
    if (!this.#attempting) return;
    this.#attempting = false;
    this.#endedAt = this.#now();
    this.#errorCode = failure?.code;
    if (attempt !== undefined) {
      // What the server says that it never looked at has not been sent to it.
      this.#sent = attempt.sent && failure?.sent !== false;
      this.#status = attempt.status;
      this.#respondedAt = attempt.respondedAt;
      if (attempt.status > 0) this.counters.responded(attempt.respondedAt - this.#leasedAt);
    }
    if (channels.attempt.hasSubscribers) this.#tell().attempted(this.attempts.at(-1) as HttpAttempt);
  }

  /** The next attempt goes where the last one was sent. */
  redirected(to: AboutRequest): void {
    this.#nextCause = "redirect";
    this.#about = to;
    this.#events?.redirected(to);
  }

  /** The next attempt replaces the last, which was sent over a dead connection. */
  resent(): void {
    this.#nextCause = "resend";
    this.counters.resent();
  }

  /** The next attempt is a retry, after `delayMs`. */
  retried(cause: RetryCause, delayMs: number): void {
    this.#nextCause = "retry";
    this.#retries++;
    // It may have been said of a response whose body then broke.
    if (this.#notRetried !== undefined) this.#note(undefined);
    this.counters.retried(cause);
    if (channels.retry.hasSubscribers) this.#tell().retried(this.#retries, cause, delayMs);
    const { logger } = this.#context.options;
    if (logger === undefined) return;
    const fields = { retry: this.#retries, cause, delay_ms: Math.round(delayMs) };
    logger.debug({ ...this.#inLog(), ...fields }, "http retry");
  }

  /** It ends here, though a retry would have been right; returns `undefined`, for a delay that there is not. */
  notRetried(why: HttpNotRetried): undefined {
    if (why === "budget") this.counters.retryDenied();
    this.#note(why);
  }

  /** Once, when nothing of the request is left. */
  ended(outcome: "success" | "error" | "canceled", failure: Failure | "canceled" | undefined): void {
    const { recorder } = this.#context;
    const ms = this.elapsedMs();
    if (typeof failure === "object" && failure.reason === "timeout") this.counters.timedOut(failure.phase);
    recorder.end(this.counters, outcome, ms);
    if (failure === undefined) {
      if (channels.requestEnd.hasSubscribers) {
        this.#tell().ended(this.#status, outcome === "error", ms, this.attempts);
      }
    } else if (channels.requestError.hasSubscribers) {
      const { code, phase } = failure === "canceled" ? STOPPED : failure;
      this.#tell().failed(code, phase, outcome === "canceled", ms, this.attempts);
    }
  }

  leaked(unreadMs: number, collected: boolean, calledAt: string): void {
    this.#context.recorder.pool.leaks++;
    const text = collected
      ? "a streamed response was garbage-collected unread; its connection is freed"
      : "a streamed response has not been read for longer than leakThresholdMs and holds its connection";
    const fields = { unread_ms: Math.round(unreadMs), ...(calledAt === "" ? {} : { called_at: calledAt }) };
    this.#context.options.logger?.warn({ ...this.#inLog(), ...fields }, text);
    if (channels.leak.hasSubscribers) this.#tell().leaked(unreadMs, collected, calledAt);
  }

  leakOver(wasRead: boolean): void {
    const text = `a streamed response that was reported as unread ${wasRead ? "was read after all" : "has ended unread"}`;
    this.#context.options.logger?.info(this.#inLog(), text);
  }

  // ---- where the time went

  get notRetriedWhy(): HttpNotRetried | undefined {
    return this.#notRetried;
  }

  get timings(): HttpTimings {
    const times = this.#sum(this.#endedAt - this.#startedAt);
    return { ...times, first_byte_ms: this.#respondedAt - this.#startedAt };
  }

  /** The same for a request that fails now, in `phase`: what is in no attempt belongs there. */
  timesAt(phase: HttpPhase): HttpPhaseTimes {
    const times = this.#sum(this.elapsedMs());
    const { total_ms, ...parts } = times;
    const rest = total_ms - Object.values(parts).reduce((sum, ms) => sum + ms, 0);
    times[`${phase}_ms`] += Math.max(0, rest);
    return times;
  }

  #sum(total_ms: number): Mutable<HttpPhaseTimes> {
    const sum = { queue_ms: 0, connect_ms: 0, tls_ms: 0, headers_ms: 0, body_ms: 0, backoff_ms: 0 };
    for (const attempt of this.attempts) {
      for (const name of Object.keys(sum) as (keyof typeof sum)[]) sum[name] += attempt[name];
    }
    return { ...sum, total_ms };
  }

  /** Forgets the last attempt, which has its entry, for a new one. */
  #begin(now: number): void {
    void this.attempts;
    this.#cause = this.#nextCause;
    this.#backoffMs = this.#cause === "retry" ? now - this.#endedAt : 0;
    this.#queueMs = 0;
    this.#connectMs = 0;
    this.#tlsMs = 0;
    this.#hasConnection = false;
    this.#respondedAt = 0;
    this.#reused = false;
    this.#sent = false;
    this.#status = 0;
    this.#errorCode = undefined;
  }

  #got(connection: Connection, now: number): void {
    this.#hasConnection = true;
    this.#leasedAt = now;
    this.#reused = connection.served > 0;
    if (this.#reused) this.counters.reuses();
  }

  #note(notRetried: HttpNotRetried | undefined): void {
    this.#notRetried = notRetried;
    const entry = this.#hasEntry ? this.#entries?.at(-1) : undefined;
    if (entry === undefined) return;
    if (notRetried === undefined) delete entry.not_retried;
    else entry.not_retried = notRetried;
  }

  #entry(): Mutable<HttpAttempt> {
    const responded = this.#status > 0;
    return {
      number: (this.#entries?.length ?? 0) + 1,
      cause: this.#cause,
      backoff_ms: this.#backoffMs,
      started_ms: this.#attemptedAt - this.#startedAt,
      time_ms: this.#endedAt - this.#attemptedAt,
      queue_ms: this.#queueMs,
      connect_ms: this.#connectMs,
      tls_ms: this.#tlsMs,
      headers_ms: this.#hasConnection ? (responded ? this.#respondedAt : this.#endedAt) - this.#leasedAt : 0,
      body_ms: responded ? this.#endedAt - this.#respondedAt : 0,
      reused: this.#reused,
      sent: this.#sent,
      ...(responded ? { status: this.#status } : {}),
      ...(this.#errorCode === undefined ? {} : { error_code: this.#errorCode }),
      ...(this.#notRetried === undefined ? {} : { not_retried: this.#notRetried }),
    };
  }

  #inLog(): { pool: string; request: string } {
    const { method, target } = this.#about;
    return { pool: this.#context.options.name, request: describeRequest(method, target) };
  }

  #tell(): RequestEvents {
    this.#events ??= new RequestEvents(this.#context.options.name, this.#about);
    return this.#events;
  }

  #now(): number {
    return this.#context.options.clock.now();
  }
}

const STOPPED = { code: "ABORT_ERR", phase: "body" } as const;
