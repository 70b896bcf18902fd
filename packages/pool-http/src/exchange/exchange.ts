/**
 * One request, from call to response: the deadline, the attempts, the redirects, the body.
 *
 *     run ─▶ send: lease a connection, attempt ─▶ redirect? retry? ─▶ body ─▶ response
 *                ▲                                       │
 *                └───────────── backoff ◀────────────────┘
 *
 * Every step waits for a promise that settles with a value, never a rejection, and leaves in `#interruption` the one
 * function that ends its wait. So a deadline, a signal or the end of the pool takes effect at once wherever the request
 * is, and each step cleans up after itself. Everything that follows an attempt is a continuation of the caller's
 * promise, so that it runs in the caller's AsyncLocalStorage context and not in that of the socket's first user.
 *
 * Most requests find a free connection and get their whole answer from one attempt. For them there is one continuation,
 * `#conclude`; the loop of async functions, which costs more than all the rest, begins where there is a decision.
 */
import type { Readable } from "node:stream";
import type { Dispatcher } from "undici";
import type { CallSite } from "../call-site.ts";
import type { HttpPhase } from "../errors.ts";
import type { Linked } from "../linked-list.ts";
import type { Clock, ResolvedOptions } from "../options.ts";
import { PatientTimer } from "../patient-timer.ts";
import { HttpResponse, type StreamControl } from "../response.ts";
import type { StatsRecorder } from "../stats.ts";
import type { OriginCounters } from "../stats/counters.ts";
import { Connection } from "../transport/connection.ts";
import type { Transport, Waiter } from "../transport/transport.ts";
import { layersOf, openStream, readBody, responseOf } from "./answer.ts";
import { Attempt, type AttemptRunner } from "./attempt.ts";
import type { DeadlineLines } from "./deadline-line.ts";
import { timedOut, type Failure } from "../failure.ts";
import { describeEnd } from "./breakdown.ts";
import { aborted, bodyNotMade, poolClosed, unexpected, type Standing } from "./endings.ts";
import { Journal } from "./journal.ts";
import { isRedirect, Redirects } from "./redirect.ts";
import { Interruption, type Interrupted } from "./interruption.ts";
import { OpenedBody } from "./request-body.ts";
import { headersFor, type PreparedRequest } from "./request.ts";
import { Retries, type Retry } from "./retries.ts";
import type { RetryBudgets } from "./retry-budget.ts";
import type { LeakWatch } from "./leak-watch.ts";
import type { StreamOutcome, StreamOwner } from "./response-stream.ts";
import { isErrorStatus, isRepeatable, isRetryableStatus } from "./retry-policy.ts";
import { describeRequest } from "./target.ts";
import { toError } from "./to-error.ts";
import { waitFor, waitForBody, waitForConnection } from "./waits.ts";

export interface ExchangeContext {
  readonly options: ResolvedOptions;
  readonly transport: Transport;
  readonly recorder: StatsRecorder;
  readonly budgets: RetryBudgets;
  readonly leaks: LeakWatch;
  readonly deadlines: DeadlineLines;
  /** Called once, when nothing of the request is left; a stream's last byte included. */
  readonly onFinished: (exchange: Exchange) => void;
}

/** A place that is neither a wait for a connection nor an attempt, which know their own. */
const QUEUE: Place = { phase: "queue" };
const BODY: Place = { phase: "body" };
const BACKOFF: Place = { phase: "backoff" };

interface Place {
  readonly phase: HttpPhase;
}

export class Exchange implements AttemptRunner, Interrupted, StreamOwner, Linked<Exchange> {
  previous: Exchange | undefined;
  next: Exchange | undefined;
  linked = false;
  readonly clock: Clock;
  readonly traffic: OriginCounters;
  readonly #context: ExchangeContext;
  readonly #journal: Journal;
  readonly #interruption: Interruption;
  /** Changes with redirects. */
  #request: PreparedRequest;
  /** Made when something has gone wrong. */
  #retries: Retries | undefined;
  /** Made at the first redirect. */
  #redirects: Redirects | undefined;
  #attempt: Attempt | undefined;
  /** Ends with its attempt: with what follows it, or with the request. */
  #attemptTimer: PatientTimer | undefined;
  /** Where it is. */
  #at: Place = QUEUE;
  #outcome: "success" | "error" | "canceled" | undefined;
  /** Where it was asked for, if leaks are looked for. */
  readonly #site: CallSite | undefined;

  constructor(context: ExchangeContext, request: PreparedRequest) {
    this.clock = context.options.clock;
    this.#context = context;
    this.#request = request;
    this.#journal = new Journal(context, request);
    this.traffic = this.#journal.counters;
    context.budgets.deposit(request.target.origin, this.#journal.startedAt);
    this.#site = context.leaks.siteOf(request);
    this.#interruption = new Interruption(this, request.timeoutMs, request.signal, context.deadlines);
  }

  /** For reports: what it is and where it stands. */
  describe(): string {
    const elapsed = Math.round(this.#journal.elapsedMs());
    return `${describeRequest(this.#request.method, this.#request.target)} (${this.#at.phase}, ${elapsed} ms)`;
  }

  run(): Promise<HttpResponse> {
    let first: Promise<Failure | undefined>;
    try {
      this.#interruption.begin();
      first = this.#send();
    } catch (error) {
      first = Promise.resolve(this.#unexpected(error));
    }
    return first.then((failure) => this.#conclude(failure));
  }

  /** The pool ends under it. Without effect once it has its response (streams: once the body has ended). */
  kill(detail: string): void {
    this.#interruption.interrupt(poolClosed(this.#standing(), detail));
  }

  /** The caller gives it up, as with its signal. */
  abort(reason: unknown): void {
    this.#interruption.interrupt(aborted(this.#standing(), "the caller", reason));
  }

  /** The attempt that is going on has waited too long for its headers; another may follow. */
  expireAttempt(limitMs: number): void {
    if (this.#attempt?.phase === "headers") this.#interruption.stop(this.#timedOut("attemptTimeoutMs", limitMs));
  }

  /** Where the headers may lead to another attempt, and for streams. */
  holds(status: number): boolean {
    return this.#request.stream || isRetryableStatus(status) || (isRedirect(status) && this.#request.maxRedirects > 0);
  }

  deadlinePassed(): Failure {
    return this.#timedOut("timeoutMs", this.#request.timeoutMs);
  }

  signalAborted(reason: unknown): Failure {
    return aborted(this.#standing(), "the caller's signal", reason);
  }

  // ---- the loop

  /** What the first attempt came to: a response, or the beginning of the loop. */
  #conclude(failure: Failure | undefined): HttpResponse | Promise<HttpResponse> {
    const attempt = this.#attempt;
    try {
      if (failure === undefined && attempt !== undefined && !this.#interruption.happened) {
        if (attempt.collected && layersOf(attempt, this.#request) === undefined) {
          return this.#respond(attempt, attempt.takeBody());
        }
        if (this.#request.stream && !isRetryableStatus(attempt.status) && !isRedirect(attempt.status)) {
          return this.#respondWithStream(attempt);
        }
      }
    } catch (error) {
      return this.#loop(this.#unexpected(error));
    }
    return this.#loop(failure);
  }

  async #loop(first: Failure | undefined): Promise<HttpResponse> {
    let outcome: HttpResponse | Failure;
    try {
      outcome = await this.#settle(first);
    } catch (error) {
      outcome = this.#unexpected(error);
    }
    if (outcome instanceof HttpResponse) return outcome;
    const error = this.toError(outcome);
    this.#finish(outcome.reason === "abort" ? "canceled" : "error", outcome);
    throw error;
  }

  /** Until an attempt's outcome is the request's. */
  async #settle(first: Failure | undefined): Promise<HttpResponse | Failure> {
    for (let failure = first; ; failure = await this.#send()) {
      this.#interruption.waited();
      const attempt = this.#attempt;
      failure = this.#interruption.failure ?? failure;
      if (failure === undefined && attempt !== undefined) {
        const hop = this.#redirect(attempt);
        if (hop === "followed") {
          // The rest of a small response is here already; let its connection come back first.
          await Promise.resolve();
          continue;
        }
        failure = hop;
        if (failure === undefined) {
          const retry = isRetryableStatus(attempt.status)
            ? this.#retriesMade().afterAnswer(this.#request, attempt, this.#remainingMs())
            : undefined;
          if (retry !== undefined) {
            this.#journal.attemptEnded(attempt);
            void attempt.discard();
            await this.#backoff(retry);
            continue;
          }
          if (this.#request.stream) return this.#respondWithStream(attempt);
          // A part of the attempt, and of its time.
          this.#at = BODY;
          const body = await readBody(attempt, this.#request, this.holds(attempt.status), this.#interruption);
          if (Buffer.isBuffer(body)) return this.#respond(attempt, body);
          failure = body;
        }
      }
      // Unreachable without a failure: an attempt ends with one or with a status.
      failure = this.#interruption.failure ?? (failure as Failure);
      this.#journal.attemptEnded(attempt, failure);
      if (this.#interruption.failure !== undefined) return failure;
      const retry = this.#retriesMade().afterFailure(this.#request, failure, this.#remainingMs());
      if (retry === undefined) return failure;
      if (retry !== "resend") await this.#backoff(retry);
    }
  }

  // ---- one attempt

  /** Up to the headers where they decide something, otherwise to the end of the body. */
  #send(): Promise<Failure | undefined> {
    this.#attemptTimer?.cancel();
    this.#attempt = undefined;
    if (this.#interruption.failure !== undefined) return Promise.resolve(this.#interruption.failure);
    this.#journal.attemptStarted();
    const fresh = this.#retries?.takeFresh();
    const leased = this.#context.transport.acquire(this.#request.target.origin, fresh);
    if (!(leased instanceof Connection)) return this.#sendInTurn(leased);
    this.#journal.leased(leased);
    return this.#sendOver(leased);
  }

  /** After the wait for a connection, of which it notes where the time went. */
  async #sendInTurn(waiter: Waiter): Promise<Failure | undefined> {
    const { transport, options } = this.#context;
    this.#at = waiter;
    const ms = options.queueTimeoutMs;
    const passed = (): Failure => this.#timedOut("queueTimeoutMs", ms ?? 0);
    const result = await waitForConnection(waiter, transport, this.#interruption, { ms, passed });
    this.#journal.waited(waiter, result);
    return result instanceof Connection ? this.#sendOver(result) : result;
  }

  #sendOver(connection: Connection): Promise<Failure | undefined> {
    this.#at = QUEUE;
    const limit = this.#request.attemptTimeoutMs;
    if (limit !== undefined) {
      const passed = (): void => this.#interruption.stop(this.#timedOut("attemptTimeoutMs", limit));
      this.#attemptTimer = new PatientTimer(limit, passed);
    }
    try {
      // Only now, so that no source is opened for a connection that never comes.
      const opening = this.#request.body.open();
      return opening instanceof Promise ? this.#openAndSend(connection, opening) : this.#dispatch(connection, opening);
    } catch (error) {
      if (this.#attempt === undefined) connection.release();
      throw error;
    }
  }

  async #openAndSend(connection: Connection, opening: Promise<OpenedBody>): Promise<Failure | undefined> {
    try {
      const opened = await waitForBody(opening, this.#interruption, (error) => bodyNotMade(this.#standing(), error));
      return opened instanceof OpenedBody ? await this.#dispatch(connection, opened) : opened;
    } finally {
      // An attempt gives its connection back by itself.
      if (this.#attempt === undefined) connection.release();
    }
  }

  #dispatch(connection: Connection, opened: OpenedBody): Promise<Failure | undefined> {
    const request = this.#request;
    const attempt = new Attempt(this, connection, request, opened);
    this.#attempt = attempt;
    this.#at = attempt;
    const options: Dispatcher.DispatchOptions = {
      path: request.target.path,
      method: request.method as Dispatcher.HttpMethod,
      headers: headersFor(request, opened.contentType),
    };
    if (this.#context.options.disableKeepAlives) options.reset = true;
    const outcome = attempt.start(options);
    this.#interruption.stopWith((failure) => attempt.cancel(failure));
    return outcome;
  }

  // ---- what follows

  /** Follows a redirect: "followed", or `undefined` where the response is no redirect to follow. */
  #redirect(attempt: Attempt): "followed" | Failure | undefined {
    if (!isRedirect(attempt.status) || this.#request.maxRedirects === 0) return undefined;
    this.#redirects ??= new Redirects(this.#context.options.baseUrl);
    const next = this.#redirects.follow(this.#request, attempt);
    if (next === undefined) return undefined;
    void attempt.discard();
    if ("reason" in next) return next;
    this.#journal.attemptEnded(attempt);
    if (next.body !== this.#request.body) this.#request.body.dispose();
    this.#request = next;
    this.#journal.redirected(next);
    this.#context.budgets.deposit(next.target.origin, this.clock.now());
    return "followed";
  }

  #retriesMade(): Retries {
    this.#retries ??= new Retries(this.#context, this.#journal);
    return this.#retries;
  }

  async #backoff({ cause, delayMs }: Retry): Promise<void> {
    this.#attemptTimer?.cancel();
    this.#journal.retried(cause, delayMs);
    this.#at = BACKOFF;
    await waitFor(delayMs, this.#interruption);
  }

  // ---- endings

  #respond(attempt: Attempt, body: Buffer): HttpResponse {
    this.#journal.attemptEnded(attempt);
    this.#finish(isErrorStatus(attempt.status) ? "error" : "success");
    return this.#response(attempt, body);
  }

  #respondWithStream(attempt: Attempt): HttpResponse {
    this.#attemptTimer?.cancel();
    this.#interruption.waited();
    this.#journal.attemptEnded(attempt);
    this.#at = BODY;
    const { deadlines, leaks } = this.#context;
    const { stream, body } = openStream(attempt, this.#request, this, deadlines);
    this.#interruption.letExit();
    // What has come whole holds no connection, and nothing can end it any more.
    if (!stream.isOver) {
      this.#interruption.stopWith((failure) => stream.interrupt(failure));
      stream.unread = leaks.watch(stream, this.#journal, this.#site);
    }
    return this.#response(attempt, body, stream);
  }

  bodyBegan(): void {
    this.#interruption.met();
  }

  bodyEnded(outcome: StreamOutcome): void {
    const status = this.#attempt?.status ?? 0;
    if (outcome === "complete") this.#finish(isErrorStatus(status) ? "error" : "success");
    else this.#finish(outcome === "canceled" || outcome.reason === "abort" ? "canceled" : "error", outcome);
  }

  #response(attempt: Attempt, body: Buffer | Readable, control?: StreamControl): HttpResponse {
    const about = { pool: this.#context.options.name, journal: this.#journal };
    return responseOf(attempt, this.#request, about, body, control);
  }

  /** Once; a second time only to call an error what was a success. */
  #finish(outcome: "success" | "error" | "canceled", failure?: Failure | "canceled"): void {
    if (this.#outcome !== undefined) {
      if (this.#outcome !== "success" || outcome !== "error") return;
      this.#outcome = outcome;
      this.#journal.counters.refused();
      return;
    }
    this.#outcome = outcome;
    this.#attemptTimer?.cancel();
    this.#interruption.dispose();
    this.#request.body.dispose();
    this.#journal.ended(outcome, failure);
    this.#context.onFinished(this);
  }

  // ---- particulars

  /** Of a function that the pool was given, or of ours. Whatever it was, nothing of the request may stay behind. */
  #unexpected(error: unknown): Failure {
    const failure = unexpected(this.#standing(), error);
    this.#attempt?.cancel(failure);
    return failure;
  }

  #timedOut(limit: "timeoutMs" | "attemptTimeoutMs" | "queueTimeoutMs", limitMs: number): Failure {
    const counts = this.#context.transport.countsOf(this.#request.target.origin);
    const { phase, sent } = this.#standing();
    return timedOut(limit, limitMs, phase, sent, counts);
  }

  #standing(): Standing {
    return { phase: this.#at.phase, sent: this.#attempt?.sent ?? false };
  }

  toError(failure: Failure): unknown {
    return toError(failure, {
      pool: this.#context.options.name,
      request: describeRequest(this.#request.method, this.#request.target),
      attempts: this.#journal.attempts,
      timings: this.#journal.timesAt(failure.phase),
      sent: this.#journal.sent,
      repeatable: isRepeatable(this.#request),
      ended: describeEnd(this.#journal.notRetriedWhy, this.#context.budgets.describe()),
    });
  }

  #remainingMs(): number {
    return this.#request.timeoutMs - this.#journal.elapsedMs();
  }
}
