/**
 * An HTTP client pool: connections that are kept, counted and limited; a deadline for every request as a whole; and
 * retries that never repeat what may not be repeated.
 *
 * Layers: this class (the verbs, the life of the pool) over `exchange/` (one request: deadline, attempts, body) over
 * `transport/` (connections and who gets them). Each knows only what lies below it.
 */
import { Dispatcher1Wrapper, type Dispatcher } from "undici";
import { HttpPoolClosedError, HttpRequestError } from "./errors.ts";
import { DeadlineLines } from "./exchange/deadline-line.ts";
import { Exchange } from "./exchange/exchange.ts";
import { LeakWatch } from "./exchange/leak-watch.ts";
import { RetryBudgets } from "./exchange/retry-budget.ts";
import type { HttpBody } from "./exchange/request-body.ts";
import { resolveTarget } from "./exchange/target.ts";
import { prepareRequest, type HttpRequest, type HttpRequestOptions, type PreparedRequest } from "./exchange/request.ts";
import type { FaceHost } from "./faces/face-host.ts";
import { createFetch } from "./faces/fetch.ts";
import type { HttpFetch } from "./faces/fetch-request.ts";
import { PoolDispatcher } from "./faces/pool-dispatcher.ts";
import { LinkedList } from "./linked-list.ts";
import { preconnect, type HttpPreconnectOptions } from "./preconnect.ts";
import { resolveTls, type HttpTlsOptions } from "./tls-options.ts";
import { resolveOptions, type HttpPoolOptions, type ResolvedOptions } from "./options.ts";
import type { HttpResponse } from "./response.ts";
import { StatsRecorder } from "./stats.ts";
import { connectionReports } from "./stats/connection-reports.ts";
import type { HttpPoolHistograms, HttpPoolStats } from "./stats/document.ts";
import { Transport } from "./transport/transport.ts";

export interface HttpHealth {
  /** A response came in time and its status is below 400. */
  readonly ok: boolean;
  readonly status?: number;
  readonly latency_ms: number;
  readonly error?: string;
}

export interface HttpCloseReport {
  /** Requests that were in flight when `close` began and ended by themselves. */
  readonly drained: number;
  /** Requests that were ended by the deadline. */
  readonly killed: number;
  /** Up to 20 of them: "GET https://api.example.com/data (headers, 1200 ms)". */
  readonly killed_requests: readonly string[];
  readonly duration_ms: number;
}

const HEALTH_TIMEOUT_MS = 5000;
const CLOSE_DEADLINE_MS = 10_000;
const MAX_REPORTED = 20;

export class HttpPool {
  /**
   * The `fetch` of the WHATWG over this pool, for libraries that take one; it needs no `this`. Rejects with a TypeError
   * whose `cause` is the HttpPoolError, or with the signal's reason.
   */
  readonly fetch: HttpFetch;
  readonly #options: ResolvedOptions;
  readonly #transport: Transport;
  readonly #deadlines = new DeadlineLines();
  readonly #recorder = new StatsRecorder();
  /** Health checks are watched by close() too, but are nobody's requests. */
  #healthRecorder: StatsRecorder | undefined;
  readonly #budgets: RetryBudgets;
  readonly #leaks: LeakWatch;
  /** Requests that have begun and not ended. */
  readonly #exchanges = new LinkedList<Exchange>();
  readonly #host: FaceHost;
  #state: "open" | "draining" | "closed" = "open";
  #closing: Promise<HttpCloseReport> | undefined;
  /** When the pool was closed. */
  #killed = 0;
  #killedRequests: readonly string[] = [];
  #onEmpty: (() => void) | undefined;

  /** Makes no connection. Throws HttpPoolConfigError where an option is wrong. */
  constructor(options: HttpPoolOptions = {}) {
    this.#options = resolveOptions(options);
    this.#transport = new Transport(this.#options);
    this.#transport.watchers.add(connectionReports(this.#options.name, this.#recorder));
    this.#budgets = new RetryBudgets(this.#options.retryBudget);
    this.#leaks = new LeakWatch(this.#options, this.#deadlines);
    this.#host = {
      options: this.#options,
      begin: (request) => this.#begin(request, this.#recorder),
      hasRoom: (origin) => this.#transport.hasRoom(origin),
      watchers: this.#transport.watchers,
    };
    this.fetch = createFetch(this.#host);
    if (this.#options.tls.insecureSkipVerify) this.#warnInsecure();
  }

  get name(): string {
    return this.#options.name;
  }

  /**
   * This pool as an undici Dispatcher, for undici's own functions and for libraries that take one. A door of its own
   * each time: who closes or destroys it ends what came through it, and neither the pool nor anybody else's requests.
   */
  get dispatcher(): Dispatcher {
    return new PoolDispatcher(this.#host);
  }

  /** The same for Node's built-in fetch and for undici 7 and before, whose handlers have other methods. */
  get legacyDispatcher(): Dispatcher {
    return new Dispatcher1Wrapper(this.dispatcher);
  }

  get(url: string | URL, options?: HttpRequestOptions): Promise<HttpResponse> {
    return this.do({ ...options, method: "GET", url });
  }

  head(url: string | URL, options?: HttpRequestOptions): Promise<HttpResponse> {
    return this.do({ ...options, method: "HEAD", url });
  }

  post(url: string | URL, body?: HttpBody, options?: HttpRequestOptions): Promise<HttpResponse> {
    return this.do({ ...options, method: "POST", url, body });
  }

  put(url: string | URL, body?: HttpBody, options?: HttpRequestOptions): Promise<HttpResponse> {
    return this.do({ ...options, method: "PUT", url, body });
  }

  patch(url: string | URL, body?: HttpBody, options?: HttpRequestOptions): Promise<HttpResponse> {
    return this.do({ ...options, method: "PATCH", url, body });
  }

  delete(url: string | URL, options?: HttpRequestOptions): Promise<HttpResponse> {
    return this.do({ ...options, method: "DELETE", url });
  }

  /**
   * Sends a request and resolves with its response, whatever its status; with `stream: true` as soon as the headers
   * are there. Rejects with an HttpPoolError, or with the reason of the caller's signal.
   */
  do(request: HttpRequest): Promise<HttpResponse> {
    return this.#do(request, this.#recorder);
  }

  /**
   * Asks whether a server answers: one GET, 5 s (or `timeoutMs`), no retry, no part in the statistics. A status of
   * 400 or more is not healthy. Never rejects.
   */
  async health(
    url: string | URL,
    options: Pick<HttpRequestOptions, "timeoutMs" | "signal" | "headers"> = {},
  ): Promise<HttpHealth> {
    const startedAt = this.#options.clock.now();
    const elapsed = (): number => this.#options.clock.now() - startedAt;
    try {
      const timeoutMs = options.timeoutMs ?? HEALTH_TIMEOUT_MS;
      const request: HttpRequest = { url, ...options, timeoutMs, maxRetries: 0, stream: true };
      this.#healthRecorder ??= new StatsRecorder();
      const response = await this.#do(request, this.#healthRecorder);
      const { status } = response;
      const latency_ms = elapsed();
      await response.discard();
      if (status < 400) return { ok: true, status, latency_ms };
      return { ok: false, status, latency_ms, error: `the server answered ${status}` };
    } catch (error) {
      return { ok: false, latency_ms: elapsed(), error: error instanceof Error ? error.message : String(error) };
    }
  }

  getStats(): HttpPoolStats {
    const transport = this.#transport;
    const now = this.#options.clock.now();
    return this.#recorder.snapshot({
      connections: { queued: transport.queuedCount, open: transport.openCount, idle: transport.idleCount },
      connectionsOf: (origin) => transport.countsOf(origin),
      retryBudgetLeft: (origin) => this.#budgets.left(origin, now),
    });
  }

  /** The durations behind the percentiles of `getStats()`, as cumulative counts for a metrics endpoint. */
  histograms(): HttpPoolHistograms {
    return this.#recorder.histograms();
  }

  /**
   * Closes the connections that nobody uses now, and says how many; after a deploy of the server, for example. With a
   * URL only those to its origin; throws HttpRequestError for what is no URL.
   */
  closeIdleConnections(url?: string | URL): number {
    const origin = url === undefined ? undefined : this.#originOf(url, "closeIdleConnections");
    return this.#transport.closeIdle("asked", origin);
  }

  /**
   * Opens connections before they are needed: as many as are missing until `count` (default 1) are open to the origin of
   * `url`, as far as the limits allow without closing any. Resolves with how many are open, busy ones included, when all
   * dials have ended or `timeoutMs` (default: that of the pool) has passed; what is being dialled then goes on. What nobody
   * uses is idle, and idle limits and times hold for it.
   *
   * Rejects where none is open: with the error of the last dial, or an HttpTimeoutError; and with the reason of the
   * caller's signal.
   */
  preconnect(url: string | URL, count = 1, options: HttpPreconnectOptions = {}): Promise<number> {
    try {
      this.#checkOpen();
      return preconnect(this.#transport, this.#options, this.#originOf(url, "preconnect"), count, options);
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  /**
   * Replaces the TLS settings without a restart, after a certificate was renewed for example. They replace all of the old
   * ones: what is left out has its default. New connections use them at once; idle ones that were made with the old are
   * closed, busy ones after their requests; sessions are not resumed. Throws HttpPoolConfigError, and leaves everything as
   * it was, where the settings cannot be used.
   */
  setTls(tls: HttpTlsOptions): void {
    // Undefined would mean none of them, which nobody who calls this wants.
    const resolved = resolveTls(tls ?? null, `${this.name}: setTls`);
    this.#transport.setTls(resolved);
    if (resolved.insecureSkipVerify) this.#warnInsecure();
  }

  /**
   * Takes no more requests, lets those in flight end, retries included, and ends the rest after `deadlineMs`
   * (default 10 000; 0 is at once). Idempotent: later calls get the first one's report.
   */
  close(options: { deadlineMs?: number | undefined } = {}): Promise<HttpCloseReport> {
    const given = options as { deadlineMs?: unknown } | null;
    const deadlineMs = given?.deadlineMs ?? CLOSE_DEADLINE_MS;
    if (given === null || typeof deadlineMs !== "number" || !(deadlineMs >= 0 && deadlineMs < 2 ** 31)) {
      const message = `${this.name}: close: deadlineMs must be a number of milliseconds from 0 to ${2 ** 31 - 1}.`;
      return Promise.reject(new HttpRequestError(message, { pool: this.name }));
    }
    this.#closing ??= this.#drain(deadlineMs);
    return this.#closing;
  }

  /** Ends every request and connection now. Idempotent. */
  destroy(): void {
    this.#kill("the pool was destroyed");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #do(request: HttpRequest, recorder: StatsRecorder): Promise<HttpResponse> {
    try {
      this.#checkOpen();
      return this.#begin(prepareRequest(request, this.#options), recorder).run();
    } catch (error) {
      return Promise.reject(error as Error);
    }
  }

  #originOf(url: string | URL, verb: string): string {
    try {
      return resolveTarget(url, this.#options.baseUrl).origin;
    } catch (error) {
      const message = `${this.name}: ${verb}: ${(error as Error).message}.`;
      throw new HttpRequestError(message, { pool: this.name, cause: error });
    }
  }

  #begin(request: PreparedRequest, recorder: StatsRecorder): Exchange {
    this.#checkOpen();
    const exchange = new Exchange(
      {
        options: this.#options,
        transport: this.#transport,
        recorder,
        budgets: this.#budgets,
        leaks: this.#leaks,
        deadlines: this.#deadlines,
        onFinished: this.#finished,
      },
      request,
    );
    this.#exchanges.push(exchange);
    return exchange;
  }

  #checkOpen(): void {
    if (this.#state === "open") return;
    const state = this.#state === "draining" ? "closing" : "closed";
    const message = `${this.name}: the pool is ${state} and takes no more requests. Make a new one.`;
    throw new HttpPoolClosedError(message, { pool: this.name });
  }

  readonly #finished = (exchange: Exchange): void => {
    this.#exchanges.remove(exchange);
    if (this.#exchanges.size === 0) this.#onEmpty?.();
  };

  async #drain(deadlineMs: number): Promise<HttpCloseReport> {
    const { clock } = this.#options;
    const startedAt = clock.now();
    const alreadyClosed = this.#state === "closed";
    const begun = alreadyClosed ? 0 : this.#exchanges.size;
    if (!alreadyClosed) this.#state = "draining";
    this.#transport.closeIdle("pool_closed");
    if (begun > 0 && deadlineMs > 0) await this.#empty(deadlineMs);
    this.#kill(`the pool was closed and its deadline (${deadlineMs} ms) passed`);
    await this.#transport.whenEmpty();
    const killed = alreadyClosed ? 0 : this.#killed;
    return Object.freeze({
      drained: begun - killed,
      killed,
      killed_requests: alreadyClosed ? [] : this.#killedRequests,
      duration_ms: clock.now() - startedAt,
    });
  }

  /** Ends what is left. A `close` that is waiting reports it. */
  #kill(why: string): void {
    if (this.#state !== "closed") {
      this.#state = "closed";
      this.#killed = this.#exchanges.size;
      const exchanges = [...this.#exchanges];
      this.#killedRequests = exchanges.slice(0, MAX_REPORTED).map((exchange) => exchange.describe());
      for (const exchange of exchanges) exchange.kill(why);
    }
    this.#transport.destroy();
    this.#leaks.end();
    this.#deadlines.close();
  }

  #empty(deadlineMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, deadlineMs);
      this.#onEmpty = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }

  #warnInsecure(): void {
    const text = `HttpPool ${this.name}: tls.insecureSkipVerify is set: any certificate is accepted, and anyone on the way can read and change what is sent`;
    if (this.#options.logger === undefined) process.emitWarning(text, { code: "VG_HTTP_INSECURE_TLS" });
    else this.#options.logger.warn({ pool: this.name, insecure_skip_verify: true }, text);
  }
}
