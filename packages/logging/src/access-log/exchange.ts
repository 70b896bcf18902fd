import type { Logger } from "../logger.ts";
import type { AccessLines, Headers } from "./access-lines.ts";
import type { AccessExchange } from "./options.ts";
import { type RequestIds, requestIds, type RequestLineContext } from "./request-context.ts";
import { cut, pathOf, queryOf } from "./target.ts";

/** nginx's code for a client that left before its answer was complete; never on the wire. */
export const CLIENT_CLOSED_REQUEST = 499;
/** A template is the program's own; the bound is for those that are made. */
const LONGEST_ROUTE = 512;

/** One request, from its arrival to its one line. What it is made of differs; see its subclasses. */
export abstract class Exchange implements AccessExchange {
  readonly lines: AccessLines;
  readonly request: object;
  readonly method: string;
  readonly path: string;
  readonly query: string | undefined;
  readonly headers: Headers;
  readonly ids: RequestIds;
  /** Where somebody else follows the request; `ids` is the same object. */
  readonly context: RequestLineContext | undefined;
  readonly httpVersion: string | undefined;
  readonly #startMs: number;
  clientAddress: string | undefined;
  /** The protocol that the connection went over to; `undefined` for a request like others. */
  upgrade: string | undefined;
  statusCode = 0;
  latencyMs = 0;
  ttfbMs: number | undefined;
  requestBytes: number | undefined;
  responseBytes: number | undefined;
  aborted = false;
  error: unknown;
  /** Finds the template when the line is written; set by the adapter of a framework. */
  findRoute: ((exchange: Exchange) => string | undefined) | undefined;
  /** The template, where whoever follows the request knows it. */
  knownRoute: string | undefined;
  /** What a framework knows of the request, for `findRoute`. */
  framework: object | undefined;
  #isFinished = false;
  #logger: Logger | undefined;

  constructor(
    lines: AccessLines,
    request: object,
    method: string,
    target: string,
    headers: Headers,
    httpVersion: string | undefined,
    context?: RequestLineContext,
  ) {
    this.lines = lines;
    this.#startMs = lines.settings.clock.now();
    this.request = request;
    this.method = method;
    this.path = pathOf(target);
    this.query = queryOf(target);
    this.headers = headers;
    this.httpVersion = httpVersion;
    this.context = context;
    this.ids = context ?? requestIds(lines.idOf(headers), headers["traceparent"]);
  }

  abstract get response(): object | undefined;
  abstract responseHeader(name: string): unknown;

  get requestId(): string {
    return this.ids.request_id;
  }

  get route(): string | undefined {
    if (this.knownRoute !== undefined) return cut(this.knownRoute, LONGEST_ROUTE);
    try {
      const route = this.findRoute?.(this);
      return route === undefined ? undefined : cut(route, LONGEST_ROUTE);
    } catch {
      // A framework that keeps its routes in another way has none to tell.
      return undefined;
    }
  }

  /** A logger whose lines carry the request's ids; made when somebody asks for it. */
  get logger(): Logger {
    this.#logger ??= this.lines.logger.withFields(this.ids);
    return this.#logger;
  }

  get isFinished(): boolean {
    return this.#isFinished;
  }

  /** The first byte of the answer is on its way. */
  markFirstByte(): void {
    this.ttfbMs ??= this.#sinceStart();
  }

  /** Writes the line; the first call counts. */
  finish(statusCode: number, isComplete: boolean): void {
    if (this.#isFinished) return;
    this.#isFinished = true;
    this.latencyMs = this.#sinceStart();
    this.statusCode = statusCode;
    this.aborted = !isComplete;
    const { lines } = this;
    lines.inFlight--;
    if (this.aborted) lines.aborted++;
    lines.write(this);
    this.findRoute = undefined;
    this.framework = undefined;
  }

  /** Milliseconds, to the hundredth. */
  #sinceStart(): number {
    return Math.round((this.lines.settings.clock.now() - this.#startMs) * 100) / 100;
  }
}

/** Counts the request in; false where it is to have no line. */
export function admit(exchange: Exchange): boolean {
  const { lines } = exchange;
  lines.requests++;
  if (lines.wantsNone(exchange)) {
    lines.skipped++;
    return false;
  }
  lines.inFlight++;
  return true;
}
