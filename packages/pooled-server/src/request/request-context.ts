import { channel } from "node:diagnostics_channel";
import type { IncomingMessage, ServerResponse } from "node:http";
import { NOT_BAGGED } from "@vg/internal";
import {
  activeSpanContext,
  type AmbientContext,
  currentContext,
  fromTraceparent,
  type Logger,
  runInContext,
} from "@vg/logging";
import type { FollowedRequest, RequestLineContext } from "@vg/logging/access-log";
import type { HeadWatcher } from "../head/response-head.ts";
import type { ActiveRequest } from "../lifecycle/active-requests.ts";
import { Farewell } from "./farewell.ts";
import type { AdmissionContext } from "../admission/admission.ts";
import { NO_PLACE } from "../admission/concurrency-gate.ts";
import { RandomDigits } from "./ids.ts";
import { knownFlags, passedOn } from "./parent-trace.ts";
import { pathOf } from "./path.ts";

/** What belongs to the request that is being handled. Get it with `currentRequest()`, anywhere below the handler. */
export interface RequestContext {
  /** The client's `x-request-id` where it is harmless, else a new one. Echoed in the answer. */
  readonly requestId: string;
  /** The trace of OpenTelemetry's active span, else of the client's W3C `traceparent`, else a new one: 32 hex digits. */
  readonly traceId: string;
  /** This server's span in that trace: 16 hex digits. */
  readonly spanId: string;
  /** The `traceparent` to send along with calls that this request makes; calls of the server's `httpPool` do. */
  readonly traceparent: string;
  /** The client's `tracestate`, to send along beside it, 512 characters at most; `undefined` where it sent none. */
  readonly tracestate: string | undefined;
  /**
   * A logger whose lines carry `trace_id`, `span_id` and `request_id` wherever they are written. The lines that any other
   * logger writes on behalf of this request carry them as well.
   */
  readonly logger: Logger;
  /**
   * Aborts at once when the client leaves before its answer is complete, when the request has taken its `requestTimeoutMs`,
   * and when a shutdown cannot wait any longer. Give it to whatever the request waits for.
   */
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
  /** The route's template, such as `/v1/models/:id`, for metrics and log. Set it where the route is known. */
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
  joinTrace(traceparent: string, tracestate?: string): boolean;
  /** `traceparent`, and `tracestate` if there is one: the headers of a call that this request makes by other means. */
  outgoingHeaders(): Record<string, string>;
}

/** Where a request's context lies in the ambient context of its log lines, of which so one storage is enough. */
const REQUEST: unique symbol = Symbol.for("@vg/pooled-server.request");

interface RequestAmbient extends AmbientContext {
  readonly [REQUEST]?: RequestContext;
}

/** The request being handled here, or `undefined` outside of one. */
export function currentRequest(): RequestContext | undefined {
  return (currentContext() as RequestAmbient | undefined)?.[REQUEST];
}

/** Runs `work` as part of the request; with `args` it needs no closure. */
export function runInRequest<A extends unknown[], T>(context: RequestContext, work: (...args: A) => T, ...args: A): T {
  return runInContext((context as NodeRequestContext).line, work, ...args);
}

/** Where undici and `fetch` tell of their calls. OpenTelemetry's instrumentation of them listens there. */
const CALLS = channel("undici:request:create");

/**
 * The headers that a call made here should carry: those of OpenTelemetry's active span, else those of the current request;
 * none outside of both, and none where OpenTelemetry's instrumentation of the client adds its own.
 */
export function outgoingHeaders(): Record<string, string> {
  const span = activeSpanContext();
  const request = currentRequest();
  if (span === undefined) return request?.outgoingHeaders() ?? {};
  // Two are as good as none.
  if (CALLS.hasSubscribers) return {};
  const traceparent = `00-${span.trace_id}-${span.span_id}-${span.trace_flags}`;
  const tracestate = request?.traceId === span.trace_id ? request.tracestate : undefined;
  return tracestate === undefined ? { traceparent } : { traceparent, tracestate };
}

/** Of a path in a report. */
const MAX_NAMED_PATH = 200;
/** Sampled: whoever comes after may record this trace, as nobody before has said otherwise. */
const SAMPLED = "01";
/** The bit of it, among others. */
const SAMPLED_FLAGS = /[13579bdf]$/;

/** The context of a node:http request. Logger and signal are made when somebody asks for them. */
export class NodeRequestContext implements RequestContext, ActiveRequest {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly path: string;
  /** By the server's clock. */
  readonly startedAt: number;
  readonly requestId: string;
  readonly spanId: string;
  route: string | undefined = undefined;
  status: number | undefined = undefined;
  /** Its line to be, where there is an access log. */
  followed: FollowedRequest | undefined = undefined;
  /** Ends the handler's time, where that is limited. */
  timer: NodeJS.Timeout | undefined = undefined;
  /** Whether somebody before has recorded its trace, so that an exemplar leads somewhere. */
  readonly isSampled: boolean;
  /** What admission keeps of it. */
  placeSince: number = NO_PLACE;
  waiter: AdmissionContext["waiter"] = undefined;
  connection: AdmissionContext["connection"] = undefined;
  bagIndex: number = NOT_BAGGED;
  /** What its answer still gets: its id, and what admission has to say. */
  readonly lateHeaders: string[];
  headWatcher: HeadWatcher | undefined = undefined;
  /** Whether the server has answered in the place of the handler, whose errors then are of no interest. */
  isAnswered = false;
  /** Whether it is counted, logged and over. */
  isOver = false;
  /** What its log lines carry; also holds this. */
  readonly line: RequestLineContext;
  #traceId: string;
  #flags: string;
  #tracestate: string | undefined;
  readonly #baseLogger: Logger;
  #logger: Logger | undefined = undefined;
  #abort: AbortController | undefined = undefined;
  #abortReason: Error | undefined = undefined;
  #farewell: Farewell | undefined = undefined;

  /** @param startedAt by the server's clock */
  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    logger: Logger,
    startedAt: number,
    path: string = pathOf(request),
  ) {
    const { headers } = request;
    this.request = request;
    this.response = response;
    this.path = path;
    this.startedAt = startedAt;
    this.#baseLogger = logger;
    const random = new RandomDigits();
    this.requestId = harmlessId(headers["x-request-id"]) ?? random.uuid;
    this.lateHeaders = ["x-request-id", this.requestId];
    const span = activeSpanContext();
    const given = headers["traceparent"];
    const parent = span ?? (given === undefined ? null : fromTraceparent(given, headers["tracestate"]));
    this.#traceId = parent?.trace_id ?? random.traceId;
    this.#flags = parent === null ? SAMPLED : knownFlags(parent.trace_flags);
    this.#tracestate = passedOn(span === undefined ? parent?.tracestate : tracestateIn(span.trace_id, headers));
    this.isSampled = parent !== null && SAMPLED_FLAGS.test(parent.trace_flags);
    this.spanId = span?.span_id ?? random.spanId;
    this.line =
      span === undefined
        ? ambientOf(this, this.#traceId, this.#tracestate)
        : // The lines carry the ids of whichever span is active where they are written.
          ({ request_id: this.requestId, [REQUEST]: this } as RequestLineContext);
  }

  get traceId(): string {
    return this.#traceId;
  }

  get traceparent(): string {
    return `00-${this.#traceId}-${this.spanId}-${this.#flags}`;
  }

  get tracestate(): string | undefined {
    return this.#tracestate;
  }

  outgoingHeaders(): Record<string, string> {
    const { traceparent } = this;
    return this.#tracestate === undefined ? { traceparent } : { traceparent, tracestate: this.#tracestate };
  }

  joinTrace(traceparent: string, tracestate?: string): boolean {
    const parent = fromTraceparent(traceparent.trim(), tracestate);
    if (parent === null) return false;
    this.#traceId = parent.trace_id;
    this.#flags = knownFlags(parent.trace_flags);
    this.#tracestate = passedOn(parent.tracestate);
    this.#logger = undefined;
    delete (this.line as { tracestate?: string }).tracestate;
    Object.assign(this.line, ambientOf(this, this.#traceId, this.#tracestate));
    return true;
  }

  get logger(): Logger {
    this.#logger ??= this.#baseLogger
      .withContext({ trace_id: this.#traceId, span_id: this.spanId })
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
    const { path } = this;
    return `${this.request.method} ${path.length > MAX_NAMED_PATH ? `${path.slice(0, MAX_NAMED_PATH)}…` : path}`;
  }

  /** The connection ends with this answer, where that can still be said, and no other one is to follow it there. */
  endConnection(): void {
    const { connection, response } = this;
    if (response.headersSent || (connection !== undefined && connection.last !== this)) return;
    response.setHeader("connection", "close");
    if (connection !== undefined) connection.isEnding = true;
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

/** The client's `tracestate`, where OpenTelemetry's span goes on with the client's trace. */
function tracestateIn(traceId: string, { traceparent, tracestate }: IncomingMessage["headers"]): string | undefined {
  if (traceparent === undefined || tracestate === undefined) return undefined;
  const given = fromTraceparent(traceparent, tracestate);
  return given?.trace_id === traceId ? given.tracestate : undefined;
}

function ambientOf(request: NodeRequestContext, traceId: string, tracestate: string | undefined): RequestLineContext {
  const { spanId: span_id, requestId: request_id } = request;
  const ids = { trace_id: traceId, span_id, request_id, [REQUEST]: request };
  return tracestate === undefined ? ids : { ...ids, tracestate };
}

/** A client's id is echoed in a header and in every log line, so only a short plain word is taken. */
function harmlessId(header: string | string[] | undefined): string | undefined {
  return typeof header === "string" && /^[\w.:-]{1,128}$/.test(header) ? header : undefined;
}
