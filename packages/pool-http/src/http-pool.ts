/**
 * An HTTP client pool: connections that are kept, counted and limited; a deadline for every request as a whole; and
 * retries that never repeat what may not be repeated.
 *
 * Layers: this class (the verbs, the life of the pool) over `exchange/` (one request: deadline, attempts, body) over
 * `transport/` (connections and who gets them). Each knows only what lies below it.
 */
import { HttpPoolClosedError, HttpRequestError } from "./errors.ts";
import { DeadlineLines } from "./exchange/deadline-line.ts";
import { Exchange } from "./exchange/exchange.ts";
import type { HttpBody } from "./exchange/request-body.ts";
import { prepareRequest, type HttpRequest, type HttpRequestOptions } from "./exchange/request.ts";
import { LinkedList } from "./linked-list.ts";
import { resolveOptions, type HttpPoolOptions, type ResolvedOptions } from "./options.ts";
import type { HttpResponse } from "./response.ts";
import { StatsRecorder, type HttpPoolStats } from "./stats.ts";
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
  readonly #options: ResolvedOptions;
  readonly #transport: Transport;
  readonly #deadlines = new DeadlineLines();
  readonly #recorder = new StatsRecorder();
  /** Health checks are watched by close() too, but are nobody's requests. */
  readonly #healthRecorder = new StatsRecorder();
  /** Requests that have begun and not ended. */
  readonly #exchanges = new LinkedList<Exchange>();
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
    if (this.#options.tls.insecureSkipVerify) this.#warnInsecure();
  }

  get name(): string {
    return this.#options.name;
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
    return this.#begin(request, this.#recorder);
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
      const response = await this.#begin(request, this.#healthRecorder);
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
    return this.#recorder.snapshot(
      {
        queued: transport.queuedCount,
        open: transport.openCount,
        idle: transport.idleCount,
        connected: transport.connectCount,
        connectFailures: transport.connectFailureCount,
      },
      (origin) => transport.countsOf(origin),
    );
  }

  /** Closes the connections that nobody uses now, and says how many; after a deploy of the server, for example. */
  closeIdleConnections(): number {
    return this.#transport.closeIdle();
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

  #begin(request: HttpRequest, recorder: StatsRecorder): Promise<HttpResponse> {
    if (this.#state !== "open") {
      const message = `${this.name}: the pool is ${this.#state === "draining" ? "closing" : "closed"} and takes no more requests. Make a new one.`;
      return Promise.reject(new HttpPoolClosedError(message, { pool: this.name }));
    }
    try {
      const exchange = new Exchange(
        {
          options: this.#options,
          transport: this.#transport,
          deadlines: this.#deadlines,
          recorder,
          onFinished: this.#finished,
        },
        prepareRequest(request, this.#options),
      );
      this.#exchanges.push(exchange);
      return exchange.run();
    } catch (error) {
      return Promise.reject(error as Error);
    }
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
    this.#transport.closeIdle();
    if (begun > 0 && deadlineMs > 0) await this.#empty(deadlineMs);
    this.#kill(`the pool was closed and its deadline (${deadlineMs} ms) passed`);
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
