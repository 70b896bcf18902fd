/**
 * The life of one request, from node:http's event to the access log:
 *
 *   endpoint of the server's own?  -> answer it: no rate limit, never refused, not counted
 *   draining?                      -> 503, and the connection ends
 *   client over its rate?          -> 429 with Retry-After
 *   else                           -> the base server, inside the request's context
 *
 * Whatever the base server does (answers, throws, never ends, loses its client), the request is counted once, observed
 * once and logged once, when its connection is done with it.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { createHistogram } from "@vg/internal";
import type { Logger } from "@vg/logging";
import type { Adapter } from "../adapters/adapter.ts";
import { ActiveRequests } from "../lifecycle/active-requests.ts";
import type { HistogramFamily } from "../metrics/histogram.ts";
import type { Endpoint } from "../probes/endpoints.ts";
import type { LatencySummary } from "../probes/health-document.ts";
import { renderProblem, type Problem } from "./problem.ts";
import type { RateLimiter } from "../admission/rate-limiter.ts";
import type { ClientIdentity } from "./client-identity.ts";
import { pathOf } from "./path.ts";
import { RefusedRequest } from "./refused-request.ts";
import { NodeRequestContext, runInRequest } from "./request-context.ts";

/** nginx's code for a client that left before its answer; only in logs and metrics, never on the wire. */
const CLIENT_CLOSED_REQUEST = 499;

interface Parts {
  base: Adapter;
  endpoints: ReadonlyMap<string, Endpoint>;
  logger: Logger;
  clock: { now(): number };
  draining: () => boolean;
  limiter: RateLimiter | undefined;
  clients: ClientIdentity;
  identify: ((request: IncomingMessage) => string | undefined) | undefined;
  renderProblem: (problem: Problem, request: IncomingMessage) => unknown;
  duration: HistogramFamily;
}

export class RequestPipeline {
  /** Requests that reached the base server or were refused, probes excluded. */
  requestCount = 0;
  /** Those that ended with a status of 500 and above. */
  errorCount = 0;
  readonly #latency = createHistogram();
  readonly #parts: Parts;
  /** Those under way, probes excluded. */
  readonly active: ActiveRequests<NodeRequestContext>;
  #lastAnswers = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.active = new ActiveRequests(parts.clock);
  }

  /** From now on every answer is the last of its connection. */
  endConnections(): void {
    this.#lastAnswers = true;
    for (const context of this.active) context.endConnection();
  }

  handle(request: IncomingMessage, response: ServerResponse): void {
    if (this.#lastAnswers) response.setHeader("connection", "close");
    const path = pathOf(request);
    const endpoint = this.#parts.endpoints.get(path);
    if (endpoint !== undefined) return this.#callEndpoint(endpoint, request, response);
    const start = this.#parts.clock.now();
    const context = new NodeRequestContext(request, response, this.#parts.logger, start);
    this.requestCount++;
    this.active.add(context);
    response.setHeader("x-request-id", context.requestId);
    // "close" comes exactly once, after the last byte or after the connection is lost.
    response.once("close", () => this.#finished(request, response, context, path, start));
    void runInRequest(context, () => this.#serve(request, response, context));
  }

  #callEndpoint(endpoint: Endpoint, request: IncomingMessage, response: ServerResponse): void {
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.writeHead(405, { allow: "GET, HEAD" }).end();
      return;
    }
    try {
      endpoint(request, response);
    } catch (error) {
      this.#parts.logger.error("An endpoint of the server failed", error, { path: pathOf(request) });
      if (response.headersSent) response.destroy();
      else response.writeHead(500).end();
    }
  }

  latency(): LatencySummary {
    const histogram = this.#latency;
    const round = (ms: number): number => Math.round(ms * 1000) / 1000;
    return {
      avg_ms: round(histogram.mean),
      min_ms: histogram.count === 0 ? 0 : round(histogram.min),
      max_ms: histogram.count === 0 ? 0 : round(histogram.max),
      p50_ms: round(histogram.percentile(0.5)),
      p95_ms: round(histogram.percentile(0.95)),
      p99_ms: round(histogram.percentile(0.99)),
    };
  }

  #refused(request: IncomingMessage, response: ServerResponse, context: NodeRequestContext): boolean {
    const { limiter, clients, identify } = this.#parts;
    if (this.#parts.draining()) {
      this.#refuseForShutdown(request, response, context);
      return true;
    }
    const waitMs =
      limiter?.take(identify === undefined ? clients.of(request) : clients.named(identify(request), request)) ?? 0;
    if (waitMs === 0) return false;
    const retryAfterSeconds = Math.ceil(waitMs / 1000);
    this.#answer(request, response, context, {
      status: 429,
      code: "rate_limit_exceeded",
      message: `Too many requests from this client; try again in ${retryAfterSeconds} s.`,
      retryAfterSeconds,
    });
    return true;
  }

  #refuseForShutdown(request: IncomingMessage, response: ServerResponse, context: NodeRequestContext): void {
    this.#answer(request, response, context, {
      status: 503,
      code: "service_unavailable",
      message: "The service is shutting down; try again, another instance will answer.",
      retryAfterSeconds: 1,
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse, context: NodeRequestContext): Promise<void> {
    try {
      if (!this.#refused(request, response, context)) await this.#parts.base.handle(request, response);
    } catch (error) {
      // A handler that fails because its client has left has nobody to answer to.
      if (response.destroyed) return;
      const abortReason = context.reasonToGiveUp(error);
      // One that gave up because the shutdown told it to has done well; its client is still there.
      if (abortReason !== undefined && !response.headersSent)
        return this.#refuseForShutdown(request, response, context);
      if (abortReason !== undefined) return void response.destroy();
      if (error instanceof RefusedRequest) {
        const { status, code, message } = error;
        return this.#answer(request, response, context, { status, code, message });
      }
      context.logger.error("The request's handler failed", error, { method: request.method, path: pathOf(request) });
      if (response.headersSent) {
        // Half an answer is out: only a broken connection can tell the client that it is not the whole.
        context.status ??= 500;
        return void response.destroy();
      }
      this.#answer(request, response, context, {
        status: 500,
        code: "internal_error",
        message: "The server failed to handle this request; the log has the reason under this trace_id.",
      });
    }
  }

  #answer(
    request: IncomingMessage,
    response: ServerResponse,
    context: NodeRequestContext,
    problem: Omit<Problem, "traceId">,
  ): void {
    const body = this.#render({ ...problem, traceId: context.traceId }, request);
    // A handler that threw may have set headers of the answer that it will not give.
    for (const name of response.getHeaderNames()) {
      if (!["x-request-id", "connection"].includes(name)) response.removeHeader(name);
    }
    response.writeHead(problem.status, {
      "content-type": "application/json; charset=utf-8",
      "content-length": Buffer.byteLength(body),
      ...(problem.retryAfterSeconds === undefined ? {} : { "retry-after": String(problem.retryAfterSeconds) }),
    });
    response.end(body);
    // What is left of a body that nobody reads would stand in the way of the connection's next request.
    request.resume();
  }

  /** The user's document, or the built-in one where theirs cannot be had: an answer is owed in any case. */
  #render(problem: Problem, request: IncomingMessage): string {
    try {
      const body = JSON.stringify(this.#parts.renderProblem(problem, request));
      if (typeof body === "string") return body;
    } catch (error) {
      this.#parts.logger.error("renderProblem failed; the built-in document is sent", error);
    }
    return JSON.stringify(renderProblem(problem));
  }

  #finished(
    request: IncomingMessage,
    response: ServerResponse,
    context: NodeRequestContext,
    path: string,
    start: number,
  ): void {
    const latencyMs = this.#parts.clock.now() - start;
    const complete = response.writableFinished;
    // Before this line only a shutdown aborts: an answer that it cut is the server's doing, not the client's.
    const cut = context.abortReason === undefined ? CLIENT_CLOSED_REQUEST : 503;
    const status = context.status ?? (complete ? response.statusCode : cut);
    if (!complete) context.abort(new Error("The client closed the connection before its answer was complete"));
    if (status >= 500) this.errorCount++;
    this.#latency.record(latencyMs);
    this.#parts.duration
      .child({
        http_request_method: knownMethod(request.method),
        // Never the raw path: its values are the clients' to choose, and each would be a series.
        http_route: context.route ?? this.#parts.base.routeOf?.(request) ?? "other",
        http_response_status_code: String(status),
      })
      .observe(latencyMs / 1000);
    context.logger.logHttpRequest(request.method ?? "", path, status, Math.round(latencyMs * 100) / 100);
    // Last: a shutdown that waits for this goes on to close what the lines above may need.
    this.active.delete(context);
  }
}

function knownMethod(method: string | undefined): string {
  return ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].includes(method ?? "")
    ? (method as string)
    : "_OTHER";
}
