/**
 * The embedded model server: an n-gram model behind OpenAI's API, with the behaviour under load of a real one.
 *
 * This file is the server: its life, its routes and who is let in. What happens to a request for a completion is in
 * inference.ts. Whoever leaves, at whatever point, frees the place in the queue or the slot at once.
 *
 *     POST /v1/chat/completions   POST /v1/embeddings   GET /v1/models   GET /v1/models/:id   GET /healthz
 *
 * It listens on 127.0.0.1 only and says what it is: `owned_by: "vg-demo"`, `system_fingerprint: "ngram-…"`, and the
 * header `x-vg-upstream: embedded-demo` on every answer.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { type IncomingMessage, type Server, type ServerResponse, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { ApiError } from "./api/api-error.ts";
import { CONTEXT_TOKENS, modelNotFound } from "./api/chat-request.ts";
import { Exchange } from "./api/exchange.ts";
import { UpstreamClosedError, UpstreamStartError } from "./errors.ts";
import type { Fault } from "./faults.ts";
import { Inference } from "./inference.ts";
import { checkUpstreamOptions, type CheckedOptions, MODEL_ID, type UpstreamOptions } from "./options.ts";
import type { SchedulerStats } from "./scheduler.ts";

/** Requests are those for completions and embeddings, refused ones included. */
export interface UpstreamStats extends SchedulerStats {
  /** Requests that came: `success_count + error_count + cancelled_count + active_requests`. */
  readonly request_count: number;
  /** Answered in full. */
  readonly success_count: number;
  /** Answered with an error, or damaged by a fault. */
  readonly error_count: number;
  /** Whose client left before the answer was complete, or that `close()` had to break off. */
  readonly cancelled_count: number;
  /** In work now: being read, waiting, or running. */
  readonly active_requests: number;
  /** Requests that met a fault set by `setFault`. */
  readonly fault_count: number;
  /** Tokens of the prompts and inputs that got a slot. */
  readonly prompt_tokens: number;
  /** Tokens generated, those of broken-off answers included. */
  readonly completion_tokens: number;
}

export interface UpstreamServer extends AsyncDisposable {
  /** "http://127.0.0.1:PORT/v1" */
  readonly baseUrl: string;
  readonly port: number;
  /** What the model was made from, as answers report it. */
  readonly systemFingerprint: string;
  /** Makes the next requests fail; see `Fault`. @throws UpstreamConfigError */
  setFault(fault: Fault): void;
  stats(): UpstreamStats;
  /**
   * Takes no more requests, turns out those that wait for a slot, and lets those that run finish for `deadlineMs`
   * (default 5000); then breaks them off. Idempotent: a later call waits for the first.
   */
  close(options?: { deadlineMs?: number }): Promise<{ killed: number }>;
}

const DEFAULT_CLOSE_DEADLINE_MS = 5000;
/** Longer than the pools in front keep idle connections, so that it is they who close them. */
const KEEP_ALIVE_MS = 120_000;
const BODY_TIMEOUT_MS = 30_000;

/**
 * Trains the model and starts the server.
 *
 * @throws UpstreamConfigError for a bad option
 * @throws UpstreamStartError when the port is not to be had
 */
export async function startUpstream(options: UpstreamOptions = {}): Promise<UpstreamServer> {
  const server = new EmbeddedUpstream(checkUpstreamOptions(options));
  await server.listen();
  return server;
}

class EmbeddedUpstream implements UpstreamServer {
  readonly #options: CheckedOptions;
  readonly #inference: Inference;
  readonly #modelIds: ReadonlySet<string>;
  readonly #startedAt = Math.floor(Date.now() / 1000);
  readonly #http: Server;
  /** Every exchange whose handler runs. */
  readonly #live = new Set<Exchange>();
  readonly #counts = { request: 0, success: 0, error: 0, cancelled: 0, active: 0 };
  /** Kept, because a closed server no longer knows it. */
  #port = 0;
  #closing: Promise<{ killed: number }> | undefined;
  /** Set by `close()`; called when the last exchange has ended. */
  #onQuiet: (() => void) | undefined;

  constructor(options: CheckedOptions) {
    this.#options = options;
    this.#modelIds = new Set([MODEL_ID, ...options.models]);
    this.#inference = new Inference(options, (id) => this.#modelIds.has(id));
    this.#http = createServer({ requestTimeout: BODY_TIMEOUT_MS, keepAliveTimeout: KEEP_ALIVE_MS });
    this.#http.on("request", (request, response) => void this.#serve(request, response));
  }

  get port(): number {
    return this.#port;
  }

  get baseUrl(): string {
    return `http://127.0.0.1:${this.port}/v1`;
  }

  get systemFingerprint(): string {
    return this.#inference.systemFingerprint;
  }

  async listen(): Promise<void> {
    this.#http.listen(this.#options.port, "127.0.0.1");
    try {
      await once(this.#http, "listening");
    } catch (error) {
      const message = `The upstream could not listen on 127.0.0.1:${this.#options.port}. Choose another port, or 0.`;
      throw new UpstreamStartError(message, { cause: error });
    }
    this.#port = (this.#http.address() as AddressInfo).port;
  }

  setFault(fault: Fault): void {
    this.#inference.faults.set(fault);
  }

  stats(): UpstreamStats {
    const counts = this.#counts;
    return Object.freeze({
      request_count: counts.request,
      success_count: counts.success,
      error_count: counts.error,
      cancelled_count: counts.cancelled,
      active_requests: counts.active,
      fault_count: this.#inference.faults.injected,
      prompt_tokens: this.#inference.promptTokens,
      completion_tokens: this.#inference.completionTokens,
      ...this.#inference.scheduler.stats(),
    });
  }

  close({ deadlineMs = DEFAULT_CLOSE_DEADLINE_MS }: { deadlineMs?: number } = {}): Promise<{ killed: number }> {
    this.#closing ??= this.#close(deadlineMs);
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(deadlineMs: number): Promise<{ killed: number }> {
    const closed = once(this.#http, "close");
    this.#http.close();
    this.#inference.scheduler.close();
    const killed = await this.#quietWithin(deadlineMs);
    this.#http.closeAllConnections();
    await closed;
    return { killed };
  }

  /** Waits until no exchange runs; breaks off those that still do at the deadline and says how many. */
  async #quietWithin(deadlineMs: number): Promise<number> {
    if (this.#live.size === 0) return 0;
    const quiet = new Promise<void>((resolve) => (this.#onQuiet = resolve));
    const done = new AbortController();
    const deadline = this.#options.timing.sleep(deadlineMs, done.signal).then(
      () => "deadline" as const,
      () => "quiet" as const,
    );
    const first = await Promise.race([quiet, deadline]);
    done.abort();
    if (first !== "deadline") return 0;
    const killed = this.#live.size;
    const reason = new UpstreamClosedError(
      `The upstream closed; the request was still running after ${deadlineMs} ms.`,
    );
    for (const exchange of this.#live) exchange.abandon(reason);
    await quiet;
    return killed;
  }

  /** One request from beginning to end. Never rejects. */
  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const exchange = new Exchange(request, response);
    if (this.#closing !== undefined) exchange.setHeader("connection", "close");
    this.#live.add(exchange);
    try {
      await this.#route(exchange);
    } catch (error) {
      exchange.fail(error);
    } finally {
      this.#live.delete(exchange);
      if (this.#live.size === 0) this.#onQuiet?.();
    }
  }

  async #route(exchange: Exchange): Promise<void> {
    const { path } = exchange;
    if (path === "/healthz") {
      allow(exchange, "GET");
      const { in_use, queued } = this.#inference.scheduler.stats();
      exchange.json(200, { status: "ok", model: MODEL_ID, in_use, queued });
      return;
    }
    if (path.startsWith("/v1/")) this.#authenticate(exchange);
    if (path === "/v1/chat/completions" || path === "/v1/embeddings") {
      allow(exchange, "POST");
      await this.#counted(exchange, () =>
        path === "/v1/embeddings" ? this.#inference.embeddings(exchange) : this.#inference.chat(exchange),
      );
    } else if (path === "/v1/models") {
      allow(exchange, "GET");
      exchange.json(200, { object: "list", data: [...this.#modelIds].map((id) => this.#modelDocument(id)) });
    } else if (path.startsWith("/v1/models/")) {
      allow(exchange, "GET");
      const id = decodePathPart(path.slice("/v1/models/".length));
      if (!this.#modelIds.has(id)) throw modelNotFound(id);
      exchange.json(200, this.#modelDocument(id));
    } else {
      throw new ApiError(404, `Invalid URL (${exchange.request.method} ${path.slice(0, 200)})`, {
        code: "unknown_url",
      });
    }
  }

  #authenticate({ request }: Exchange): void {
    const { apiKey } = this.#options;
    if (apiKey === undefined) return;
    const given = /^Bearer (.+)$/iu.exec(request.headers.authorization ?? "")?.[1];
    if (given !== undefined && timingSafeEqual(digest(given), digest(apiKey))) return;
    const message = given === undefined ? "You didn't provide an API key." : "Incorrect API key provided.";
    throw new ApiError(401, `${message} Send it as 'Authorization: Bearer KEY'.`, {
      code: "invalid_api_key",
      headers: { "www-authenticate": "Bearer" },
    });
  }

  #modelDocument(id: string): object {
    return { id, object: "model", created: this.#startedAt, owned_by: "vg-demo", max_model_len: CONTEXT_TOKENS };
  }

  async #counted(exchange: Exchange, work: () => Promise<void>): Promise<void> {
    this.#counts.request++;
    this.#counts.active++;
    try {
      await work();
    } catch (error) {
      exchange.fail(error);
    } finally {
      this.#counts.active--;
      this.#counts[exchange.outcome ?? "error"]++;
    }
  }
}

function allow({ request }: Exchange, method: string): void {
  if (request.method === method) return;
  throw new ApiError(405, `Not allowed to ${request.method} on ${request.url?.slice(0, 200)}. Use ${method}.`, {
    code: "method_not_allowed",
    headers: { allow: method },
  });
}

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

function decodePathPart(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
