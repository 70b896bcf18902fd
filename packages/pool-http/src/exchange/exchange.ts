/**
 * One request, from call to response: the deadline, the attempts, the redirects, the body.
 *
 *     run ─▶ lease a connection ─▶ attempt ─▶ redirect? retry? ─▶ body ─▶ response
 *                ▲                                     │
 *                └──────────── backoff ◀───────────────┘
 *
 * Every step waits for a promise that settles with a value, never a rejection, and leaves in `#interruption` the one
 * function that ends its wait. So a deadline, a signal or the end of the pool takes effect at once wherever the request is, and
 * each step cleans up after itself. The loop is an async function, so that every attempt runs in the caller's
 * AsyncLocalStorage context and not in that of the socket's first user.
 */
import type { Readable } from "node:stream";
import type { Dispatcher } from "undici";
import type { HttpPhase } from "../errors.ts";
import type { ResolvedOptions } from "../options.ts";
import { HttpResponse, type StreamControl } from "../response.ts";
import type { StatsRecorder } from "../stats.ts";
import { Connection } from "../transport/connection.ts";
import type { Transport, Waiter } from "../transport/transport.ts";
import { Attempt } from "./attempt.ts";
import { decodeBody, parseEncoding } from "./decode.ts";
import { timedOut, tooLarge, type Failure } from "./failure.ts";
import { headerText } from "./headers.ts";
import { Journal } from "./journal.ts";
import { isRedirect, nextHop, redirectFailure } from "./redirect.ts";
import { Interruption } from "./interruption.ts";
import { OpenedBody } from "./request-body.ts";
import { headersFor, type PreparedRequest } from "./request.ts";
import { InflatedStream, ResponseStream } from "./response-stream.ts";
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
import { waitFor, waitForBody, waitForConnection, waitForResult } from "./waits.ts";

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
  readonly #interruption: Interruption;
  /** Changes with redirects. */
  #request: PreparedRequest;
  #retries = 0;
  #resends = 0;
  /** The last attempt met a dead connection. */
  #stale = false;
  #redirects = 0;
  #attempt: Attempt | undefined;
  #phase: () => HttpPhase = () => "queue";
  #outcome: "success" | "error" | "canceled" | undefined;

  constructor(context: ExchangeContext, request: PreparedRequest) {
    this.#context = context;
    this.#request = request;
    this.#origin = request.target.origin;
    this.#journal = new Journal(() => this.#now());
    const { timeoutMs, signal } = request;
    this.#interruption = new Interruption({
      timeoutMs,
      signal,
      onDeadline: () => this.#timedOut("timeoutMs", timeoutMs),
      onAbort: (reason) => this.#ended("abort", "ABORT_ERR", "the caller's signal", reason),
    });
    context.recorder.begin(this.#origin);
  }

  /** For reports: what it is and where it stands. */
  describe(): string {
    const elapsed = Math.round(this.#journal.elapsedMs());
    return `${describeRequest(this.#request.method, this.#request.target)} (${this.#phase()}, ${elapsed} ms)`;
  }

  async run(): Promise<HttpResponse> {
    let outcome: HttpResponse | Failure;
    try {
      this.#interruption.begin();
      outcome = await this.#loop();
    } catch (error) {
      // Of a function that the pool was given, or of ours. Whatever it was, nothing of the request may stay behind.
      outcome = this.#ended("request", "ERR_VG_HTTP_REQUEST", "an unexpected error was thrown (see cause)", error);
      this.#attempt?.cancel(outcome);
    }
    if (outcome instanceof HttpResponse) return outcome;
    const error = this.#toError(outcome);
    this.#finish(outcome.reason === "abort" ? "canceled" : "error", outcome);
    throw error;
  }

  /** The pool ends under it. Without effect once it has its response (streams: once the body has ended). */
  kill(detail: string): void {
    this.#interruption.interrupt(this.#ended("closed", "ERR_VG_HTTP_CLOSED", detail));
  }

  async #loop(): Promise<HttpResponse | Failure> {
    for (;;) {
      let failure = this.#interruption.failure ?? (await this.#send());
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
            void attempt.discard();
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
      failure = this.#interruption.failure ?? (failure as Failure);
      this.#journal.attemptEnded(attempt, failure);
      if (this.#interruption.failure !== undefined) return failure;
      if (this.#resend(failure)) continue;
      const cause = retryCauseOfFailure(this.#request, failure);
      const delay = cause === undefined ? undefined : this.#retryDelay(undefined);
      if (cause === undefined || delay === undefined) return failure;
      await this.#backoff(cause, delay);
    }
  }

  // ---- steps of the loop

  /** One attempt: up to the headers where they decide something, otherwise to the end of the body. */
  async #send(): Promise<Failure | undefined> {
    this.#attempt = undefined;
    this.#journal.attemptStarted();
    const leased = this.#context.transport.acquire(this.#request.target.origin, this.#stale);
    this.#stale = false;
    const waits = !(leased instanceof Connection);
    if (!waits) this.#context.recorder.waited(0);
    const connection = waits ? await this.#wait(leased) : leased;
    if (!(connection instanceof Connection)) return connection;
    const limit = this.#request.attemptTimeoutMs;
    const attemptTimer =
      limit === undefined
        ? undefined
        : setTimeout(() => this.#interruption.stop(this.#timedOut("attemptTimeoutMs", limit)), limit);
    try {
      return await this.#sendOver(connection);
    } finally {
      clearTimeout(attemptTimer);
      this.#interruption.waited();
      // It never came to an attempt, which gives its connection back by itself.
      if (this.#attempt === undefined) connection.release();
    }
  }

  async #sendOver(connection: Connection): Promise<Failure | undefined> {
    const request = this.#request;
    // Only now, so that no source is opened for a connection that never comes.
    const opening = request.body.open();
    const failed = (error: unknown): Failure =>
      this.#ended("request", "ERR_VG_HTTP_REQUEST", "the function that makes the body failed (see cause)", error);
    this.#phase = () => "queue";
    const opened = opening instanceof Promise ? await waitForBody(opening, this.#interruption, failed) : opening;
    if (!(opened instanceof OpenedBody)) return opened;
    const attempt = new Attempt(connection, opened, {
      head: request.method === "HEAD",
      maxBytes: request.maxResponseBytes,
      hold: this.#holds,
      now: () => this.#now(),
      onEnd: () => request.body.close(opened),
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
    const outcome = attempt.start(options);
    this.#interruption.stopWith((failure) => attempt.cancel(failure));
    return outcome;
  }

  /** The wait for a connection, and where its time went. */
  async #wait(waiter: Waiter): Promise<Connection | Failure> {
    const { transport, options, recorder } = this.#context;
    const from = this.#now();
    this.#phase = () => waiter.phase;
    const ms = options.queueTimeoutMs;
    const passed = (): Failure => this.#timedOut("queueTimeoutMs", ms ?? 0);
    const result = await waitForConnection(waiter, transport, this.#interruption, { ms, passed });
    const connection = result instanceof Connection ? result : undefined;
    recorder.waited(this.#journal.waited(this.#now() - from, connection));
    return result;
  }

  /** Follows a redirect: "followed", or `undefined` where the response is no redirect to follow. */
  #redirect(attempt: Attempt): "followed" | Failure | undefined {
    const location = headerText(attempt.headers["location"]);
    if (!isRedirect(attempt.status) || location === undefined || this.#request.maxRedirects === 0) return undefined;
    if (this.#redirects >= this.#request.maxRedirects) {
      void attempt.discard();
      return redirectFailure(`the server redirected more than ${this.#request.maxRedirects} times (maxRedirects)`);
    }
    const next = nextHop(this.#request, attempt.status, location, this.#context.options.baseUrl);
    if (next === undefined) return undefined;
    this.#redirects++;
    void attempt.discard();
    if (typeof next === "string") return redirectFailure(next);
    this.#journal.attemptEnded(attempt);
    if (next.body !== this.#request.body) this.#request.body.dispose();
    this.#request = next;
    this.#journal.next("redirect");
    return "followed";
  }

  /** The request went over a connection that was dead already: repeat it at once, at no cost. */
  #resend(failure: Failure): boolean {
    this.#stale = failure.reason === "stale";
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
    await waitFor(delay, this.#interruption);
  }

  /** The rest of the body, inflated. */
  async #readBody(attempt: Attempt): Promise<Buffer | Failure> {
    this.#phase = () => "body";
    if (this.#holds(attempt.status)) {
      const collected = attempt.collect();
      this.#interruption.stopWith((failure) => attempt.cancel(failure));
      const failure = await collected;
      this.#interruption.waited();
      if (failure !== undefined) return failure;
    }
    const raw = attempt.takeBody();
    const layers = this.#layersOf(attempt);
    if (layers === undefined) return raw;
    const decoded = decodeBody(raw, layers, this.#request.maxResponseBytes);
    return decoded instanceof Promise ? waitForResult(decoded, this.#interruption) : decoded;
  }

  // ---- endings

  #respond(attempt: Attempt, body: Buffer): HttpResponse {
    this.#journal.attemptEnded(attempt);
    this.#finish(isErrorStatus(attempt.status) ? "error" : "success");
    return this.#response(attempt, body);
  }

  #respondWithStream(attempt: Attempt): HttpResponse {
    this.#journal.attemptEnded(attempt);
    this.#interruption.met();
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
    const body = layers === undefined ? stream : new InflatedStream(stream, layers);
    attempt.stream(stream);
    this.#interruption.stopWith((failure) => stream.interrupt(failure));
    return this.#response(attempt, body, {
      discard: () => stream.discard(),
      tooLarge: (sizeBytes, limitBytes) => stream.refuse(tooLarge(sizeBytes, limitBytes)),
    });
  }

  #response(attempt: Attempt, body: Buffer | Readable, control?: StreamControl): HttpResponse {
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
      control,
      pool: this.#context.options.name,
      request: () => describeRequest(request.method, request.target),
      maxBytes: this.#request.maxResponseBytes,
    });
  }

  /** Once; a second time only to call an error what was a success. */
  #finish(outcome: "success" | "error" | "canceled", failure?: Failure | "canceled"): void {
    const { recorder, onFinished } = this.#context;
    if (this.#outcome !== undefined) {
      if (this.#outcome === "success" && outcome === "error") recorder.refused(this.#origin);
      return;
    }
    this.#outcome = outcome;
    this.#interruption.dispose();
    this.#request.body.dispose();
    if (typeof failure === "object" && failure.reason === "timeout") recorder.timeout(failure.phase);
    recorder.end(this.#origin, outcome, this.#journal.elapsedMs());
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

  /** A failure that is not the server's. */
  #ended(reason: "abort" | "closed" | "request", code: string, detail: string, cause?: unknown): Failure {
    return { reason, phase: this.#phase(), code, detail, cause, sent: this.#attempt?.sent ?? false };
  }

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
