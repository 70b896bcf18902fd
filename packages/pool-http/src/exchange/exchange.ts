/**
 * One request, from call to response: the deadline, the attempts, the redirects, the body.
 *
 *     run ─▶ lease a connection ─▶ attempt ─▶ redirect? retry? ─▶ body ─▶ response
 *                ▲                                     │
 *                └──────────── backoff ◀───────────────┘
 *
 * Every step waits for a promise that settles with a value, never a rejection, and leaves in `#stop` the one function
 * that ends its wait. So a deadline, a signal or the end of the pool takes effect at once wherever the request is, and
 * each step cleans up after itself. The loop is an async function, so that every attempt runs in the caller's
 * AsyncLocalStorage context and not in that of the socket's first user.
 */
import type { Readable } from "node:stream";
import type { Dispatcher } from "undici";
import type { HttpPhase } from "../errors.ts";
import type { ResolvedOptions } from "../options.ts";
import { HttpResponse } from "../response.ts";
import type { StatsRecorder } from "../stats.ts";
import { Connection } from "../transport/connection.ts";
import type { Transport, Waiter } from "../transport/transport.ts";
import { Attempt } from "./attempt.ts";
import { decodeBody, parseEncoding } from "./decode.ts";
import { timedOut, type Failure } from "./failure.ts";
import { headerText } from "./headers.ts";
import { Journal } from "./journal.ts";
import { isRedirect, nextHop, redirectFailure } from "./redirect.ts";
import type { OpenedBody } from "./request-body.ts";
import { headersFor, type PreparedRequest } from "./request.ts";
import { ResponseStream, inflate } from "./response-stream.ts";
import {
  isErrorStatus,
  isRetryableStatus,
  parseRetryAfter,
  retryCauseOfFailure,
  retryCauseOfStatus,
  retryDelayMs,
  type RetryCause,
} from "./retry-policy.ts";
import { describeRequest } from "./target.ts";
import { toError } from "./to-error.ts";

export interface ExchangeContext {
  readonly options: ResolvedOptions;
  readonly transport: Transport;
  readonly recorder: StatsRecorder;
  /** Called once, when nothing of the request is left; a stream's last byte included. */
  readonly onFinished: (exchange: Exchange) => void;
}

export class Exchange {
  readonly #context: ExchangeContext;
  readonly #origin: string;
  readonly #journal: Journal;
  readonly #deadlineTimer: NodeJS.Timeout;
  /** Changes with redirects. */
  #request: PreparedRequest;
  #retries = 0;
  #resends = 0;
  #redirects = 0;
  #attempt: Attempt | undefined;
  #phase: () => HttpPhase = () => "queue";
  /** Ends the wait that is going on. */
  #stop: ((failure: Failure) => void) | undefined;
  /** The request as a whole is over, whatever the current attempt says. */
  #interrupted: Failure | undefined;

  constructor(context: ExchangeContext, request: PreparedRequest) {
    this.#context = context;
    this.#request = request;
    this.#origin = request.target.origin;
    this.#journal = new Journal(() => this.#now());
    const { timeoutMs } = request;
    this.#deadlineTimer = setTimeout(() => this.interrupt(this.#timedOut("timeoutMs", timeoutMs)), timeoutMs);
    request.signal?.addEventListener("abort", this.#aborted, { once: true });
    context.recorder.begin(this.#origin);
  }

  /** For reports: what it is and where it stands. */
  describe(): string {
    const elapsed = Math.round(this.#journal.elapsedMs());
    return `${describeRequest(this.#request.method, this.#request.target)} (${this.#phase()}, ${elapsed} ms)`;
  }

  async run(): Promise<HttpResponse> {
    if (this.#request.signal?.aborted === true) this.#aborted();
    for (;;) {
      let failure = this.#interrupted ?? (await this.#send());
      const attempt = this.#attempt;
      if (failure === undefined && attempt !== undefined) {
        const hop = this.#redirect(attempt);
        if (hop === "followed") {
          // The rest of a small response is here already; let its connection come back first.
          await Promise.resolve();
          continue;
        }
        failure = hop;
        if (failure === undefined) {
          const cause = retryCauseOfStatus(this.#request, attempt.status);
          const delay = cause === undefined ? undefined : this.#retryDelay(retryAfterOf(attempt));
          if (cause !== undefined && delay !== undefined) {
            this.#journal.attemptEnded(attempt);
            attempt.discard();
            await this.#backoff(cause, delay);
            continue;
          }
          if (this.#request.stream) return this.#respondWithStream(attempt);
          const body = await this.#readBody(attempt);
          if (Buffer.isBuffer(body)) return this.#respond(attempt, body);
          failure = body;
        }
      }
      // Unreachable without a failure: an attempt ends with one or with a status.
      failure = this.#interrupted ?? (failure as Failure);
      this.#journal.attemptEnded(attempt, failure);
      if (this.#interrupted === undefined && this.#resend(failure)) continue;
      const cause = this.#interrupted === undefined ? retryCauseOfFailure(this.#request, failure) : undefined;
      const delay = cause === undefined ? undefined : this.#retryDelay(undefined);
      if (cause === undefined || delay === undefined) throw this.#fail(failure);
      await this.#backoff(cause, delay);
    }
  }

  /** Ends the request from outside; without effect once it has its response (streams: once the body has ended). */
  interrupt(failure: Failure): void {
    if (this.#interrupted !== undefined) return;
    this.#interrupted = failure;
    this.#stop?.(failure);
  }

  /** The pool ends under it. */
  kill(detail: string): void {
    const phase = this.#phase();
    this.interrupt({ reason: "closed", phase, code: "ERR_VG_HTTP_CLOSED", detail, sent: this.#attempt?.sent ?? false });
  }

  // ---- steps of the loop

  /** One attempt: up to the headers where they decide something, otherwise to the end of the body. */
  async #send(): Promise<Failure | undefined> {
    const request = this.#request;
    this.#attempt = undefined;
    this.#journal.attemptStarted();
    const limit = request.attemptTimeoutMs;
    const attemptTimer =
      limit === undefined
        ? undefined
        : setTimeout(() => this.#stop?.(this.#timedOut("attemptTimeoutMs", limit)), limit);
    try {
      const opening = request.body.open();
      const opened = opening instanceof Promise ? await this.#makeBody(opening) : opening;
      if ("reason" in opened) return opened;
      const leased = this.#context.transport.acquire(request.target.origin, request.target.url);
      const waits = !(leased instanceof Connection);
      if (!waits) this.#context.recorder.waited(0);
      const connection = waits ? await this.#wait(leased) : leased;
      if (!(connection instanceof Connection)) return connection;
      const attempt = new Attempt(connection, request.body, {
        head: request.method === "HEAD",
        maxBytes: request.maxResponseBytes,
        hold: this.#holds,
        now: () => this.#now(),
        traffic: this.#context.recorder,
      });
      this.#attempt = attempt;
      this.#phase = () => attempt.phase;
      const options: Dispatcher.DispatchOptions = {
        path: request.target.path,
        method: request.method as Dispatcher.HttpMethod,
        headers: headersFor(request, opened.contentType),
      };
      if (this.#context.options.disableKeepAlives) options.reset = true;
      const outcome = attempt.start(options, opened);
      this.#stopWith((failure) => attempt.cancel(failure));
      return await outcome;
    } finally {
      clearTimeout(attemptTimer);
      this.#stop = undefined;
    }
  }

  async #makeBody(opening: Promise<OpenedBody>): Promise<OpenedBody | Failure> {
    this.#phase = () => "queue";
    return new Promise((resolve) => {
      this.#stopWith(resolve);
      opening.then(resolve, (error: unknown) => {
        const detail = "the function that makes the body failed (see cause)";
        resolve({ reason: "request", phase: "queue", code: "ERR_VG_HTTP_REQUEST", detail, cause: error, sent: false });
      });
    });
  }

  /** The wait for a connection, and where its time went. */
  async #wait(waiter: Waiter): Promise<Connection | Failure> {
    const { transport, options, recorder } = this.#context;
    const from = this.#now();
    this.#phase = () => waiter.phase;
    this.#stopWith((failure) => transport.leave(waiter, failure));
    const limit = options.queueTimeoutMs;
    const queueTimer =
      limit === undefined
        ? undefined
        : setTimeout(() => {
            // A dial has limits of its own.
            if (waiter.dial === undefined) transport.leave(waiter, this.#timedOut("queueTimeoutMs", limit));
          }, limit);
    const result = await waiter.result;
    clearTimeout(queueTimer);
    if (result instanceof Connection && this.#interrupted !== undefined) {
      // Both happened in one turn; the connection serves somebody else.
      result.release();
      return this.#interrupted;
    }
    const connection = result instanceof Connection ? result : undefined;
    recorder.waited(this.#journal.waited(this.#now() - from, connection));
    return result;
  }

  /** Follows a redirect: "followed", or `undefined` where the response is no redirect to follow. */
  #redirect(attempt: Attempt): "followed" | Failure | undefined {
    const location = headerText(attempt.headers["location"]);
    if (!isRedirect(attempt.status) || location === undefined || this.#request.maxRedirects === 0) return undefined;
    if (this.#redirects >= this.#request.maxRedirects) {
      attempt.discard();
      return redirectFailure(`the server redirected more than ${this.#request.maxRedirects} times (maxRedirects)`);
    }
    const next = nextHop(this.#request, attempt.status, location, this.#context.options.baseUrl);
    if (next === undefined) return undefined;
    this.#redirects++;
    attempt.discard();
    if (typeof next === "string") return redirectFailure(next);
    this.#journal.attemptEnded(attempt);
    this.#request = next;
    this.#journal.next("redirect");
    return "followed";
  }

  /** The request went over a connection that was dead already: repeat it at once, at no cost. */
  #resend(failure: Failure): boolean {
    if (failure.reason !== "stale" || retryCauseOfFailure(this.#request, failure) === undefined) return false;
    // No more than there can be dead connections; after that, something else is wrong.
    if (this.#resends > this.#context.options.maxConnsPerHost) return false;
    this.#resends++;
    this.#context.recorder.staleResends++;
    this.#journal.next("resend");
    return true;
  }

  /** How long to wait before the next retry; `undefined` where there is none left, or no time for it. */
  #retryDelay(retryAfterMs: number | undefined): number | undefined {
    if (this.#retries >= this.#request.maxRetries) return undefined;
    const { retryBaseMs: baseMs, retryCapMs: capMs, random } = this.#context.options;
    const delay = retryDelayMs(this.#retries, { baseMs, capMs, random, retryAfterMs });
    // Waiting past the deadline would turn an answer into a timeout.
    return delay < this.#remainingMs() ? delay : undefined;
  }

  async #backoff(cause: RetryCause, delay: number): Promise<void> {
    const { options, recorder } = this.#context;
    this.#retries++;
    this.#journal.next("retry");
    recorder.retry(this.#origin, cause);
    options.logger?.debug(
      {
        pool: options.name,
        request: describeRequest(this.#request.method, this.#request.target),
        retry: this.#retries,
        cause,
        delay_ms: Math.round(delay),
      },
      "http retry",
    );
    this.#phase = () => "backoff";
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, delay);
      this.#stopWith(() => {
        clearTimeout(timer);
        resolve();
      });
    });
    this.#stop = undefined;
  }

  /** The rest of the body, inflated. */
  async #readBody(attempt: Attempt): Promise<Buffer | Failure> {
    this.#phase = () => "body";
    if (this.#holds(attempt.status)) {
      const collected = attempt.collect();
      this.#stopWith((failure) => attempt.cancel(failure));
      const failure = await collected;
      this.#stop = undefined;
      if (failure !== undefined) return failure;
    }
    const raw = attempt.takeBody();
    const layers = this.#layersOf(attempt);
    if (layers === undefined) return raw;
    const decoded = decodeBody(raw, layers, this.#request.maxResponseBytes);
    if (!(decoded instanceof Promise)) return decoded;
    const result = await new Promise<Buffer | Failure>((resolve) => {
      this.#stopWith(resolve);
      void decoded.then(resolve);
    });
    this.#stop = undefined;
    return result;
  }

  /** Names what ends the wait that begins now; an interruption that came in between ends it at once. */
  #stopWith(stop: (failure: Failure) => void): void {
    this.#stop = stop;
    if (this.#interrupted !== undefined) stop(this.#interrupted);
  }

  // ---- endings

  #respond(attempt: Attempt, body: Buffer): HttpResponse {
    this.#journal.attemptEnded(attempt);
    this.#finish(isErrorStatus(attempt.status) ? "error" : "success");
    return this.#response(attempt, body);
  }

  #respondWithStream(attempt: Attempt): HttpResponse {
    this.#journal.attemptEnded(attempt);
    clearTimeout(this.#deadlineTimer);
    this.#phase = () => "body";
    const request = this.#request;
    const layers = this.#layersOf(attempt);
    const stream = new ResponseStream(
      attempt,
      {
        firstByteMs: this.#remainingMs(),
        gapMs: request.bodyGapTimeoutMs,
        totalMs: request.bodyTimeoutMs,
        timeoutMs: request.timeoutMs,
        now: () => this.#now(),
      },
      (failure) => this.#toError(failure),
      (outcome) => {
        if (outcome === "complete") this.#finish(isErrorStatus(attempt.status) ? "error" : "success");
        else this.#finish(outcome === "canceled" || outcome.reason === "abort" ? "canceled" : "error", outcome);
      },
      layers !== undefined,
    );
    const body = layers === undefined ? stream : inflate(stream, layers);
    attempt.stream(stream);
    this.#stopWith((failure) => stream.interrupt(failure));
    return this.#response(attempt, body);
  }

  #response(attempt: Attempt, body: Buffer | Readable): HttpResponse {
    const request = this.#request;
    const headers = { ...attempt.headers };
    if (this.#layersOf(attempt) !== undefined) {
      // They describe the body on the wire, not the one that is handed out.
      delete headers["content-encoding"];
      delete headers["content-length"];
    }
    return new HttpResponse({
      status: attempt.status,
      statusText: attempt.statusText,
      headers,
      url: this.#request.target.url.href,
      attempts: this.#journal.attempts,
      timings: this.#journal.timings(attempt.respondedAt),
      body,
      pool: this.#context.options.name,
      request: () => describeRequest(request.method, request.target),
      maxBytes: this.#request.maxResponseBytes,
    });
  }

  #fail(failure: Failure): unknown {
    const error = this.#toError(failure);
    this.#finish(failure.reason === "abort" ? "canceled" : "error", failure);
    return error;
  }

  #finish(outcome: "success" | "error" | "canceled", failure?: Failure | "canceled"): void {
    const { recorder, onFinished } = this.#context;
    clearTimeout(this.#deadlineTimer);
    this.#request.signal?.removeEventListener("abort", this.#aborted);
    if (typeof failure === "object" && failure.reason === "timeout") recorder.timeout(failure.phase);
    recorder.end(this.#origin, outcome, this.#journal.elapsedMs());
    this.#stop = undefined;
    onFinished(this);
  }

  // ---- particulars

  /** Whether an attempt stops at its headers: where they may lead to another attempt, and for streams. */
  readonly #holds = (status: number): boolean =>
    this.#request.stream || isRetryableStatus(status) || (isRedirect(status) && this.#request.maxRedirects > 0);

  #layersOf(attempt: Attempt): readonly string[] | undefined {
    if (!this.#request.decodes || attempt.status === 206) return undefined;
    return parseEncoding(headerText(attempt.headers["content-encoding"]));
  }

  readonly #aborted = (): void => {
    this.interrupt({
      reason: "abort",
      phase: this.#phase(),
      code: "ABORT_ERR",
      detail: "the caller's signal",
      cause: this.#request.signal?.reason,
      sent: this.#attempt?.sent ?? false,
    });
  };

  #timedOut(limit: "timeoutMs" | "attemptTimeoutMs" | "queueTimeoutMs", limitMs: number): Failure {
    const counts = this.#context.transport.countsOf(this.#request.target.origin);
    return timedOut(limit, limitMs, this.#phase(), this.#attempt?.sent ?? false, counts);
  }

  #toError(failure: Failure): unknown {
    return toError(failure, {
      pool: this.#context.options.name,
      request: describeRequest(this.#request.method, this.#request.target),
      attempts: this.#journal.attempts,
      elapsedMs: this.#journal.elapsedMs(),
      replayable: this.#request.replayable,
    });
  }

  #remainingMs(): number {
    return this.#request.timeoutMs - this.#journal.elapsedMs();
  }

  #now(): number {
    return this.#context.options.clock.now();
  }
}

function retryAfterOf(attempt: Attempt): number | undefined {
  return parseRetryAfter(headerText(attempt.headers["retry-after"]), Date.now());
}
