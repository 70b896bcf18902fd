import { AsyncLocalStorage } from "node:async_hooks";
import { randomBytes, randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { Logger } from "@vg/logging";
import type { ActiveRequest } from "../lifecycle/active-requests.ts";
import { Farewell } from "./farewell.ts";
import { pathOf } from "./path.ts";

/** What belongs to the request that is being handled. Get it with `currentRequest()`, anywhere below the handler. */
export interface RequestContext {
  /** The client's `x-request-id` where it is harmless, else a new one. Echoed in the answer. */
  readonly requestId: string;
  /** The trace of the client's W3C `traceparent`, else a new one: 32 hex digits. */
  readonly traceId: string;
  /** This server's span in that trace: 16 hex digits. */
  readonly spanId: string;
  /** The `traceparent` to send along with calls that this request makes. */
  readonly traceparent: string;
  /** A logger whose lines carry `trace_id`, `span_id` and `request_id`. */
  readonly logger: Logger;
  /** Aborts when the client leaves before its answer is complete, and when a shutdown cannot wait any longer. */
  readonly signal: AbortSignal;
  /**
   * Aborts when a shutdown has stopped accepting: an answer that has no end of its own, such as a subscription's, should
   * end now; its client comes back to another instance.
   */
  readonly draining: AbortSignal;
  /**
   * Aborts shortly before `signal` does so in a shutdown: a stream that is still under way should now write its last event
   * and end, so that its client knows that it is not the whole. Others may use what time is left.
   */
  readonly lastCall: AbortSignal;
  /** The route's template, such as `/v1/models/:id`, for metrics. Set it where the route is known. */
  route: string | undefined;
  /**
   * What log and metrics say instead of the status on the wire: for an answer that failed after its head was out, such
   * as a stream that broke.
   */
  status: number | undefined;
  /**
   * Makes this request part of another trace, for clients that send their `traceparent` elsewhere than in the header.
   * Call it before anything is logged.
   * @returns false, and changes nothing, where it is no valid W3C traceparent
   */
  joinTrace(traceparent: string): boolean;
}

/** Of a path in a report. */
const MAX_NAMED_PATH = 200;

const storage = new AsyncLocalStorage<RequestContext>();

/** The request being handled here, or `undefined` outside of one. */
export function currentRequest(): RequestContext | undefined {
  return storage.getStore();
}

/** Runs `work` as part of the request. */
export function runInRequest<T>(context: RequestContext, work: () => T): T {
  return storage.run(context, work);
}

/** The context of a node:http request. Logger and signal are made when somebody asks for them. */
export class NodeRequestContext implements RequestContext, ActiveRequest {
  readonly startedAt: number;
  readonly requestId: string;
  readonly spanId: string;
  route: string | undefined;
  status: number | undefined;
  #traceId: string;
  #flags: string;
  readonly #baseLogger: Logger;
  #logger: Logger | undefined;
  #abort: AbortController | undefined;
  #abortReason: Error | undefined;
  #farewell: Farewell | undefined;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;

  /** @param startedAt by the server's clock */
  constructor(request: IncomingMessage, response: ServerResponse, logger: Logger, startedAt: number) {
    this.startedAt = startedAt;
    this.#request = request;
    this.#response = response;
    const parent = parseTraceparent(request.headers["traceparent"]);
    this.#traceId = parent?.traceId ?? randomBytes(16).toString("hex");
    this.#flags = parent?.flags ?? "01";
    this.spanId = randomBytes(8).toString("hex");
    this.requestId = harmlessId(request.headers["x-request-id"]) ?? randomUUID();
    this.#baseLogger = logger;
  }

  get traceId(): string {
    return this.#traceId;
  }

  get traceparent(): string {
    return `00-${this.#traceId}-${this.spanId}-${this.#flags}`;
  }

  joinTrace(traceparent: string): boolean {
    const parent = parseTraceparent(traceparent);
    if (parent === undefined) return false;
    this.#traceId = parent.traceId;
    this.#flags = parent.flags;
    this.#logger = undefined;
    return true;
  }

  get logger(): Logger {
    this.#logger ??= this.#baseLogger
      .withContext({ trace_id: this.traceId, span_id: this.spanId })
      .withFields({ request_id: this.requestId });
    return this.#logger;
  }

  get signal(): AbortSignal {
    if (this.#abort === undefined) {
      this.#abort = new AbortController();
      if (this.#abortReason !== undefined) this.#abort.abort(this.#abortReason);
    }
    return this.#abort.signal;
  }

  get draining(): AbortSignal {
    this.#farewell ??= new Farewell();
    return this.#farewell.draining;
  }

  get lastCall(): AbortSignal {
    this.#farewell ??= new Farewell();
    return this.#farewell.lastCall;
  }

  // What the shutdown does with it; see ActiveRequest.

  drain(reason: Error): void {
    this.#farewell ??= new Farewell();
    const farewell = this.#farewell;
    // Whoever hears of it logs with this request's ids, not with those of whoever closes.
    runInRequest(this, () => farewell.drain(reason));
  }

  callLast(reason: Error): void {
    this.#farewell ??= new Farewell();
    const farewell = this.#farewell;
    runInRequest(this, () => farewell.callLast(reason));
  }

  describe(): string {
    const path = pathOf(this.#request);
    return `${this.#request.method} ${path.length > MAX_NAMED_PATH ? `${path.slice(0, MAX_NAMED_PATH)}…` : path}`;
  }

  /** The connection ends with this answer, where that can still be said. */
  endConnection(): void {
    if (!this.#response.headersSent) this.#response.setHeader("connection", "close");
  }

  /** Why a handler that failed with this was told to give up, if it was: that is no failure of its own. */
  reasonToGiveUp(error: unknown): Error | undefined {
    const { reason } = this.#farewell ?? {};
    return this.#abortReason ?? (reason === error ? reason : undefined);
  }

  /** Why the signal aborted, or would have if somebody had asked for it. */
  get abortReason(): Error | undefined {
    return this.#abortReason;
  }

  abort(reason: Error): void {
    this.#abortReason ??= reason;
    const abort = this.#abort;
    if (abort !== undefined) runInRequest(this, () => abort.abort(reason));
  }
}

/** W3C Trace Context, version 00; anything else, and the all-zero ids, count as absent. */
function parseTraceparent(header: string | string[] | undefined): { traceId: string; flags: string } | undefined {
  if (typeof header !== "string") return undefined;
  const match = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/.exec(header.trim());
  if (match === null) return undefined;
  const [, traceId, parentId, flags] = match as unknown as [string, string, string, string];
  if (/^0+$/.test(traceId) || /^0+$/.test(parentId)) return undefined;
  return { traceId, flags };
}

/** A client's id is echoed in a header and in every log line, so only a short plain word is taken. */
function harmlessId(header: string | string[] | undefined): string | undefined {
  return typeof header === "string" && /^[\w.:-]{1,128}$/.test(header) ? header : undefined;
}
