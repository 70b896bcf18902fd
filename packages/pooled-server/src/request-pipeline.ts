/**
 * The life of one request, from node:http's event to the access log:
 *
 *   endpoint of the server's own?  -> answer it: no rate limit, never refused, not counted
 *   draining?                      -> 503, and the connection ends
 *   not admitted?                  -> 400, 413, 417, 429, 431, 503: see `Admission`; it may have to wait before that is clear
 *   else                           -> the base server, inside the request's context
 *
 * Whatever the base server does (answers, throws, never ends, writes twice, loses its client), the request is counted
 * once, observed once and logged once, when its connection is done with it.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Logger } from "@vg/logging";
import type { AccessLog } from "@vg/logging/access-log";
import type { Adapter } from "./adapters/adapter.ts";
import type { Admission } from "./admission/admission.ts";
import { ClientFaultError } from "./admission/client-fault.ts";
import type { Refusal } from "./admission/refusal.ts";
import { ClientClosedError, RequestTimeoutError } from "./errors.ts";
import { ActiveRequests } from "./lifecycle/active-requests.ts";
import type { HistogramFamily } from "./metrics/histogram.ts";
import type { Endpoint } from "./probes/endpoints.ts";
import type { LatencySummary } from "./probes/health-document.ts";
import { CLIENT_CLOSED_REQUEST, onConnectionLost, statusOfBroken } from "./request/ending.ts";
import { pathOf } from "./request/path.ts";
import {
  answerWith,
  FAILED,
  problemOf,
  SHUTTING_DOWN,
  TIMED_OUT,
  type Problem,
  type RenderProblem,
} from "./request/problem.ts";
import { RefusedRequest } from "./request/refused-request.ts";
import { ownHead } from "./head/response-head.ts";
import { NodeRequestContext, runInRequest } from "./request/request-context.ts";
import { RequestMetrics } from "./request/request-metrics.ts";

interface Parts {
  base: Adapter;
  endpoints: ReadonlyMap<string, Endpoint>;
  logger: Logger;
  /** `undefined`: no lines. */
  accessLog: AccessLog | undefined;
  clock: { now(): number };
  draining: () => boolean;
  admission: Admission<NodeRequestContext>;
  renderProblem: RenderProblem;
  /** How long a handler has until its answer begins; 0 is no limit. */
  requestTimeoutMs: number;
  duration: HistogramFamily;
}

export class RequestPipeline {
  readonly #parts: Parts;
  readonly #metrics: RequestMetrics;
  /** Those under way, probes excluded. */
  readonly active: ActiveRequests<NodeRequestContext>;
  /** Requests that reached the base server or were refused, those under way included, probes excluded. */
  requestCount = 0;
  #lastAnswers = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.active = new ActiveRequests(parts.clock);
    this.#metrics = new RequestMetrics(parts.duration);
  }

  /** From now on every answer is the last of its connection. */
  endConnections(): void {
    this.#lastAnswers = true;
    for (const context of this.active) context.endConnection();
  }

  /** Those that ended with a status of 500 and above. */
  get errorCount(): number {
    return this.#metrics.errorCount;
  }

  latency(): LatencySummary {
    return this.#metrics.latency();
  }

  /** An upgrade counts as a request, whose time is that to its answer. */
  upgradeAnswered(context: NodeRequestContext, status: number): void {
    this.requestCount++;
    this.#metrics.ended(context, status, this.#parts.clock.now() - context.startedAt);
  }

  handle(request: IncomingMessage, response: ServerResponse): void {
    if (this.#lastAnswers) response.setHeader("connection", "close");
    const path = pathOf(request);
    const { endpoints, clock, logger, accessLog, requestTimeoutMs } = this.#parts;
    const endpoint = endpoints.get(path);
    if (endpoint !== undefined) return this.#callEndpoint(endpoint, request, response);
    const context = new NodeRequestContext(request, response, logger, clock.now(), path);
    this.requestCount++;
    this.active.add(context);
    this.#parts.admission.begun(context);
    if (accessLog !== undefined) context.followed = accessLog.begin(request, response, context.line);
    ownHead(response, context);
    this.#follow(context);
    if (requestTimeoutMs > 0) context.timer = setTimeout(timedOut, requestTimeoutMs, this, context).unref();
    runInRequest(context, serve, this, context);
    // Not before: it is worked on itself.
    if (this.#lastAnswers && context.connection !== undefined) context.connection.isEnding = true;
  }

  /** Sees to it that the end of the request is noticed, whatever it is. */
  #follow(context: NodeRequestContext): void {
    const { response, request } = context;
    // "close" comes exactly once, after the last byte or after the connection is lost. Node.js takes the connection off
    // a response that it has sent to its end.
    response.on("close", () => this.#finished(context, response.writableEnded && response.socket === null));
    response.on("error", (error) => this.#wroteTooMuch(context, error));
    if (response.socket !== null) return;
    response.once(
      "close",
      onConnectionLost(request.socket, () => {
        // What is lost behind another answer is not its handler's doing.
        if (context.abortReason === undefined) context.status ??= CLIENT_CLOSED_REQUEST;
        this.#finished(context, false);
      }),
    );
  }

  /** Calls the handler; `serve` has its context around it. */
  serve(context: NodeRequestContext): void {
    // Its answer would go nowhere, and its client is free to send it again elsewhere.
    if (context.connection?.isEnding === true) return;
    try {
      if (this.#parts.draining()) {
        this.#answer(context, SHUTTING_DOWN);
        return;
      }
      const verdict = this.#parts.admission.admit(context);
      if (!isThenable(verdict)) this.#admitted(context, verdict);
      else
        verdict
          .then((late) => this.#admitted(context, late))
          .then(undefined, (error: unknown) => this.#failed(context, error));
    } catch (error) {
      this.#failed(context, error);
    }
  }

  #admitted(context: NodeRequestContext, refusal: Refusal | undefined): void {
    const { request, response } = context;
    // Whoever had to wait may be gone by now, or out of time.
    if (context.isOver || response.headersSent) return;
    if (refusal !== undefined) {
      this.#answer(context, refusal, refusal.close);
      return;
    }
    const result = this.#parts.base.handle(request, response);
    if (isThenable(result)) result.then(undefined, (error: unknown) => this.#failed(context, error));
  }

  /** Its client is at fault: it is answered for that, and its handler is told. */
  giveUp(context: NodeRequestContext, fault: ClientFaultError): void {
    const { request, response } = context;
    if (context.isOver || response.writableEnded) return;
    if (!response.headersSent) response.setHeader("connection", "close");
    context.abort(fault);
    if (request.listenerCount("error") > 0) request.emit("error", fault);
    // Whoever begins to read only then must not wait for ever.
    context.connection?.socket.once("close", () => request.destroy(fault));
    // A handler that heeds either may still say it in its own words.
    setImmediate(() => {
      if (context.isOver || context.isAnswered || response.writableEnded) return;
      if (!response.headersSent) {
        this.#answer(context, fault.answer, true);
        return;
      }
      context.status ??= fault.status;
      response.destroy();
    });
  }

  /** The handler has had its time. */
  timedOut(context: NodeRequestContext): void {
    const { response } = context;
    if (context.isOver || response.headersSent) return;
    context.abort(new RequestTimeoutError(context.describe(), this.#parts.requestTimeoutMs));
    // A handler that heeds its signal may still say it in its own words.
    setImmediate(() => {
      if (!context.isOver && !response.headersSent) this.#answer(context, TIMED_OUT);
    });
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

  #failed(context: NodeRequestContext, error: unknown): void {
    const { response } = context;
    const reason = context.reasonToGiveUp(error);
    // A handler that fails because its client has left has nobody to answer to.
    if (context.isOver ? reason !== undefined : response.destroyed) return;
    // The answer of the server's own may be on its way still: see `answerWith`.
    const isAnswered = context.isAnswered || response.writableEnded;
    if (reason !== undefined && !isAnswered) {
      // One that gave up because it was told to has done well; its client is still there.
      if (response.headersSent) response.destroy();
      else this.#answer(context, problemOf(reason), reason instanceof ClientFaultError);
      return;
    }
    const { method } = context.request;
    if (isAnswered) {
      // After `requestTimeoutMs` the server has answered, and what the handler still tries must fail.
      if (reason !== undefined) return;
      context.logger.error("The request's handler failed after its answer", error, { method, path: context.path });
      return;
    }
    if (error instanceof RefusedRequest && !response.headersSent) {
      const { status, code, message } = error;
      return this.#answer(context, { status, code, message });
    }
    context.logger.error("The request's handler failed", error, { method, path: context.path });
    if (response.headersSent) {
      // Half an answer is out: only a broken connection can tell the client that it is not the whole.
      context.status ??= 500;
      response.destroy();
    } else {
      this.#answer(context, FAILED);
    }
  }

  #wroteTooMuch(context: NodeRequestContext, error: Error): void {
    // What comes too late because the server has answered, or because nobody listens any more, is no fault.
    if (context.abortReason !== undefined || context.response.destroyed) return;
    context.logger.warn("The request's handler wrote after the end of its answer; that was left out", error, {
      method: context.request.method,
      path: context.path,
    });
  }

  #logBrokenOff({ logger, request: { method }, path }: NodeRequestContext, reason: unknown): void {
    logger.error("The request's handler broke its answer off", reason, { method, path });
  }

  #answer(context: NodeRequestContext, problem: Omit<Problem, "traceId">, close: boolean = false): void {
    if (close && context.connection !== undefined) context.connection.isEnding = true;
    answerWith(context, problem, this.#parts.renderProblem, close);
  }

  #finished(context: NodeRequestContext, isComplete: boolean): void {
    if (context.isOver) return;
    context.isOver = true;
    const { request, response, abortReason } = context;
    if (context.timer !== undefined) clearTimeout(context.timer);
    const latencyMs = this.#parts.clock.now() - context.startedAt;
    const status = context.status ?? (isComplete ? response.statusCode : statusOfBroken(request.socket, abortReason));
    this.#parts.admission.finished(context);
    if (!isComplete) {
      // Nobody else says why: `pipeline(source, response)` breaks the answer off with what its source failed with.
      if (status >= 500 && abortReason === undefined && response.errored) this.#logBrokenOff(context, response.errored);
      context.abort(new ClientClosedError());
    }
    context.route ??= this.#parts.base.routeOf?.(request);
    this.#metrics.ended(context, status, latencyMs);
    context.followed?.ended(status, isComplete, context.route);
    // Last: a shutdown that waits for this goes on to close what the lines above may need.
    this.active.delete(context);
  }
}

// In the place of closures, of which each request would make its own.

function serve(pipeline: RequestPipeline, context: NodeRequestContext): void {
  pipeline.serve(context);
}

function timedOut(pipeline: RequestPipeline, context: NodeRequestContext): void {
  pipeline.timedOut(context);
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === "function";
}
