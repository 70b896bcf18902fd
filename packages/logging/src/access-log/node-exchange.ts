import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse, ServerHttp2Session } from "node:http2";
import { NOT_BAGGED } from "@vg/internal";
import type { AccessLines, Headers } from "./access-lines.ts";
import { doneOn, openOn, openUntilTold, told } from "./connections.ts";
import { admit, CLIENT_CLOSED_REQUEST, Exchange } from "./exchange.ts";
import type { RequestLineContext } from "./request-context.ts";

/** A request of node:http, or of node:http2 by its compatibility API. */
export type NodeRequest = IncomingMessage | Http2ServerRequest;
export type NodeResponse = ServerResponse | Http2ServerResponse;

// Shared with another copy of this package in the process, so that two access logs make one line.
const EXCHANGE: unique symbol = Symbol.for("@vg/logging.access-log.exchange");

interface Tracked {
  [EXCHANGE]?: NodeExchange;
}

// `write`, `end` and so on of a response, as they were; found on it, or by its prototype.
type Method = (this: never, ...args: unknown[]) => unknown;
interface Patched extends Tracked {
  readonly writableEnded: boolean;
  readonly destroyed: boolean;
  write: Method;
  end: Method;
  flushHeaders: Method;
  writeHead: Method;
}

const CLIENT_ERRORS = new Set(["ECONNRESET", "EPIPE", "ECONNABORTED", "ETIMEDOUT"]);
/** RFC 9113's CANCEL: the client has no more use for the answer. */
const CANCEL = 8;

/** One request of node:http or http2. Its end is the response's "close", which comes once, or its connection's. */
export class NodeExchange extends Exchange {
  readonly response: NodeResponse;
  /** The socket, or the session of HTTP/2. */
  readonly #connection: Parameters<typeof openOn>[0];
  readonly #isHttp2: boolean;
  readonly write: Method;
  readonly end: Method;
  /** Of HTTP/1: `flushHeaders`; of HTTP/2, where it sends the head at once, `writeHead`. */
  readonly sendHead: Method;
  readonly push: Method | undefined;
  bagIndex: number = NOT_BAGGED;
  isSent = false;
  isEnding = false;
  sentBytes = 0;
  receivedBytes = 0;

  /** @param context of a request whose end somebody else tells */
  constructor(lines: AccessLines, request: NodeRequest, response: NodeResponse, context?: RequestLineContext) {
    // Express shortens `url` below a router, and keeps the whole.
    const { originalUrl } = request as { originalUrl?: unknown };
    const target = typeof originalUrl === "string" ? originalUrl : (request.url ?? "/");
    super(lines, request, request.method ?? "", target, request.headers as Headers, request.httpVersion, context);
    this.response = response;
    const stream = "stream" in response ? response.stream : undefined;
    this.#isHttp2 = stream !== undefined;
    this.#connection = stream?.session ?? request.socket;
    this.clientAddress = lines.settings.clients?.of(request.socket.remoteAddress, this.headers);

    const patched = response as unknown as Patched;
    this.write = patched.write;
    this.end = patched.end;
    this.sendHead = this.#isHttp2 ? patched.writeHead : patched.flushHeaders;
    this.push = hasBody(request, this.#isHttp2) ? (request.push as unknown as Method) : undefined;
  }

  /** Begins to watch; not done in the constructor, as skipped requests are not watched. */
  watch(): void {
    this.countBytes();
    const { response } = this;
    response.on("finish", onFinish);
    response.on("close", onClose);
    openOn(this.#connection, this);
    const { echo } = this.lines.settings;
    if (echo !== undefined && !response.headersSent) response.setHeader(echo, this.requestId);
  }

  /** What there is to watch where somebody else tells the end; see `ended`. */
  countBytes(): void {
    const { request, response } = this;
    const patched = response as unknown as Patched;
    (request as Tracked)[EXCHANGE] = this;
    patched[EXCHANGE] = this;
    patched.write = countingWrite;
    patched.end = countingEnd;
    if (this.#isHttp2) patched.writeHead = notingHead;
    else patched.flushHeaders = notingHead;
    if (this.push !== undefined) (request as unknown as { push: Method }).push = countingPush;
  }

  responseHeader(name: string): unknown {
    return this.response.getHeader(name);
  }

  connectionLost(): void {
    this.conclude();
  }

  conclude(): void {
    if (this.isFinished) return;
    doneOn(this.#connection, this);
    const { response } = this;
    const isComplete = this.#isHttp2 ? isStreamSent(response as Http2ServerResponse) : this.isSent;
    this.ended(isComplete ? response.statusCode : this.#statusOfAborted(), isComplete);
  }

  ended(statusCode: number, isComplete: boolean, route?: string): void {
    if (this.isFinished) return;
    if (this.context !== undefined) told(this);
    this.responseBytes = hasNoBody(this.method, this.response) ? 0 : this.sentBytes;
    this.requestBytes = this.push === undefined ? 0 : this.receivedBytes;
    if (route !== undefined) this.knownRoute = route;
    this.finish(statusCode, isComplete);
  }

  /** 499 where the client left; else the server itself has broken off, and there are few good reasons to. */
  #statusOfAborted(): number {
    if (this.#isHttp2) {
      const { stream } = this.response as Http2ServerResponse;
      const isClients = stream.rstCode === CANCEL || (this.#connection as ServerHttp2Session).destroyed;
      return isClients ? CLIENT_CLOSED_REQUEST : 500;
    }
    const { socket } = this.request as IncomingMessage;
    const code = codeOf(socket.errored);
    if (socket.readableEnded || CLIENT_ERRORS.has(code)) return CLIENT_CLOSED_REQUEST;
    // What node:http has answered by itself, below the response.
    if (code === "ERR_HTTP_REQUEST_TIMEOUT") return 408;
    return code.startsWith("HPE_") ? 400 : 500;
  }
}

/** Begins the exchange of a request; `undefined` where it has one already, or is to have no line. */
export function beginExchange(
  lines: AccessLines,
  request: NodeRequest,
  response: NodeResponse,
): NodeExchange | undefined {
  if (exchangeOf(request) !== undefined) return undefined;
  const exchange = new NodeExchange(lines, request, response);
  if (!admit(exchange)) return undefined;
  exchange.watch();
  return exchange;
}

/** As `beginExchange`, for one who has a context for it and calls `ended`. */
export function beginDriven(
  lines: AccessLines,
  request: NodeRequest,
  response: NodeResponse,
  context: RequestLineContext,
): NodeExchange | undefined {
  if (exchangeOf(request) !== undefined) return undefined;
  const exchange = new NodeExchange(lines, request, response, context);
  if (!admit(exchange)) return undefined;
  exchange.countBytes();
  openUntilTold(exchange);
  return exchange;
}

export function exchangeOf(request: object): NodeExchange | undefined {
  return (request as Tracked)[EXCHANGE];
}

// Functions that all responses share, in the place of a closure for each. `this` is the response.

function countingWrite(this: Patched, ...args: unknown[]): unknown {
  const exchange = this[EXCHANGE] as NodeExchange;
  // What comes after the end, or from inside end(), does not go out, or is counted there.
  if (!exchange.isEnding && !this.writableEnded && !this.destroyed) {
    exchange.markFirstByte();
    exchange.sentBytes += byteLength(args[0], args[1]);
  }
  return exchange.write.apply(this as never, args);
}

function countingEnd(this: Patched, ...args: unknown[]): unknown {
  const exchange = this[EXCHANGE] as NodeExchange;
  if (this.writableEnded || this.destroyed || exchange.isEnding) return exchange.end.apply(this as never, args);
  exchange.markFirstByte();
  exchange.sentBytes += byteLength(args[0], args[1]);
  exchange.isEnding = true;
  try {
    return exchange.end.apply(this as never, args);
  } finally {
    exchange.isEnding = false;
  }
}

function notingHead(this: Patched, ...args: unknown[]): unknown {
  const exchange = this[EXCHANGE] as NodeExchange;
  exchange.markFirstByte();
  return exchange.sendHead.apply(this as never, args);
}

function countingPush(this: Tracked, ...args: unknown[]): unknown {
  const exchange = this[EXCHANGE] as NodeExchange;
  exchange.receivedBytes += byteLength(args[0], args[1]);
  return exchange.push?.apply(this as never, args);
}

function onFinish(this: NodeResponse): void {
  const exchange = (this as Tracked)[EXCHANGE];
  if (exchange !== undefined) exchange.isSent = true;
}

function onClose(this: NodeResponse): void {
  (this as Tracked)[EXCHANGE]?.conclude();
}

function byteLength(chunk: unknown, encoding: unknown): number {
  if (typeof chunk === "string") {
    return Buffer.byteLength(chunk, typeof encoding === "string" ? (encoding as BufferEncoding) : "utf8");
  }
  return ArrayBuffer.isView(chunk) ? chunk.byteLength : 0;
}

function hasBody(request: NodeRequest, isHttp2: boolean): boolean {
  const { headers } = request;
  const length = headers["content-length"];
  if (length !== undefined) return length !== "0";
  if (isHttp2) return !(request as Http2ServerRequest).stream.endAfterHeaders;
  return headers["transfer-encoding"] !== undefined;
}

function hasNoBody(method: string, { statusCode }: NodeResponse): boolean {
  return method === "HEAD" || statusCode === 204 || statusCode === 304 || statusCode < 200;
}

/** The compatibility API says "finish" of every response that is closed, so it is not asked. */
function isStreamSent({ stream }: Http2ServerResponse): boolean {
  return stream.writableFinished && !stream.aborted && stream.rstCode === 0;
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : "";
}
