/**
 * HTTP/2 over one socket: many requests at once, each a stream with the face of an undici request.
 *
 * It stands on `node:http2` and not on undici's Client, because the transport must know what only the session knows:
 * how many streams the server allows at this moment (so that nothing waits inside, where no limit sees it), and for
 * each stream that ends whether the server can have acted on it. A stream above the last one that a GOAWAY names, or
 * one that was reset with REFUSED_STREAM, was never processed (RFC 9113, sections 6.8 and 8.7).
 *
 * Nothing here retries. What fails is told to its handler, with a code that says which of the cases it was.
 */
import { connect, constants, type ClientHttp2Session, type ClientHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import { errors, type Dispatcher } from "undici";
import { codeOf } from "../exchange/failure.ts";
import { CONNECTION_GONE, STREAM_REFUSED } from "./signals.ts";
import { sendBody } from "./http2-body.ts";

/** Larger than Node's, so that a body is not held up by the round trip: 256 KiB a stream, 1 MiB in all. */
const STREAM_WINDOW_BYTES = 256 * 1024;
const SESSION_WINDOW_BYTES = 1024 * 1024;
/** How long a server may take to answer a PING before its connection counts as dead. */
const PING_TIMEOUT_MS = 5000;

export interface Http2Settings {
  /** Streams at once, however many more the server allows. */
  readonly maxStreams: number;
  readonly maxHeaderBytes: number;
}

export class Http2Session {
  /** Streams that may be open at once; 0 until the server's first SETTINGS have come. */
  capacity = 0;
  /** It takes no new stream: the server said so, or it is closed. */
  draining = false;
  /** Called when `capacity` or `draining` has changed. */
  onChange: () => void = () => {};
  readonly maxHeaderBytes: number;
  readonly #session: ClientHttp2Session;
  readonly #socket: Socket;
  readonly #authority: string;
  readonly #scheme: string;
  readonly #maxStreams: number;
  readonly #streams = new Map<Dispatcher.DispatchHandler, Http2Exchange>();
  /** Of the streams that the server took up before it left. */
  #lastTaken = Number.POSITIVE_INFINITY;
  /** How many of them somebody waits for: while there is one, the socket keeps the process alive. */
  #wanted = 0;
  #pingTimer: NodeJS.Timeout | undefined;

  constructor(origin: URL, socket: Socket, settings: Http2Settings) {
    this.#socket = socket;
    this.#authority = origin.host;
    this.#scheme = origin.protocol.slice(0, -1);
    this.#maxStreams = settings.maxStreams;
    this.maxHeaderBytes = settings.maxHeaderBytes;
    const session = connect(origin, {
      createConnection: () => socket,
      peerMaxConcurrentStreams: settings.maxStreams,
      settings: {
        enablePush: false,
        initialWindowSize: STREAM_WINDOW_BYTES,
        // Node's own limit holds only once the server has acknowledged it; the exact one is checked below.
        maxHeaderListSize: 2 * settings.maxHeaderBytes,
      },
    });
    this.#session = session;
    session.once("connect", () => session.setLocalWindowSize(SESSION_WINDOW_BYTES));
    session.on("remoteSettings", ({ maxConcurrentStreams }) => {
      this.capacity = Math.min(maxConcurrentStreams ?? settings.maxStreams, this.#maxStreams);
      // A server that allows none wants to be left.
      if (this.capacity === 0) this.#drain();
      else this.onChange();
    });
    session.on("goaway", (_code, lastStream) => {
      this.#lastTaken = Math.min(this.#lastTaken, lastStream);
      this.#drain();
    });
    session.on("close", () => {
      clearTimeout(this.#pingTimer);
      this.#drain();
    });
    // Each stream hears of it, too, and tells its handler.
    session.on("error", () => {});
  }

  /** Sends one request. `handler` hears about its end exactly once, possibly before this returns. */
  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void {
    let stream: ClientHttp2Stream;
    const body = options.body as string | Uint8Array | Blob | AsyncIterable<Uint8Array> | null;
    try {
      stream = this.#session.request(this.#headersOf(options), { endStream: body === null });
    } catch (error) {
      return handler.onResponseError?.(null as never, this.#notOpened(error as Error));
    }
    const exchange = new Http2Exchange(this, stream, handler, options);
    this.#streams.set(handler, exchange);
    this.#setWanted(1);
    handler.onRequestStart?.(exchange, {});
    if (body !== null && !exchange.ended) void sendBody(stream, body, exchange, handler);
  }

  /** An unread stream does not keep the process alive. */
  setWanted(handler: Dispatcher.DispatchHandler, wanted: boolean): void {
    const exchange = this.#streams.get(handler);
    if (exchange === undefined || exchange.wanted === wanted) return;
    exchange.wanted = wanted;
    this.#setWanted(wanted ? 1 : -1);
  }

  /** Whether the server left without having taken up this stream. */
  passedOver(stream: number | undefined): boolean {
    return this.draining && (stream === undefined || stream > this.#lastTaken);
  }

  get socketClosed(): boolean {
    return this.#socket.destroyed;
  }

  streamEnded(handler: Dispatcher.DispatchHandler, exchange: Http2Exchange): void {
    if (!this.#streams.delete(handler)) return;
    if (exchange.wanted) this.#setWanted(-1);
  }

  /**
   * A request was given up before its response began. If the whole connection is dead, so will be the next requests
   * on it, and no error tells: HTTP/2 ends the stream only. So the server is asked for a sign of life.
   */
  probe(): void {
    if (this.#pingTimer !== undefined || this.#session.destroyed) return;
    const socket = this.#socket;
    this.#pingTimer = setTimeout(() => socket.destroy(), PING_TIMEOUT_MS).unref();
    try {
      this.#session.ping(() => {
        clearTimeout(this.#pingTimer);
        this.#pingTimer = undefined;
      });
    } catch {
      // As many pings as Node allows are under way; the timer decides.
    }
  }

  #headersOf(options: Dispatcher.DispatchOptions): Record<string, string | string[]> {
    const given = options.headers as Record<string, string | string[]>;
    const headers: Record<string, string | string[]> = {
      ":method": options.method,
      ":path": options.path,
      ":scheme": this.#scheme,
      ":authority": typeof given["host"] === "string" ? given["host"] : this.#authority,
    };
    for (const name of Object.keys(given)) {
      const value = given[name] as string | string[];
      // Of one connection, and so unknown to HTTP/2 (RFC 9113, section 8.2.2).
      if (name === "host" || name === "proxy-connection" || name === "http2-settings") continue;
      if (name === "te" && value !== "trailers") continue;
      headers[name] = value;
    }
    const length = lengthOf(options.body as string | Uint8Array | Blob | AsyncIterable<Uint8Array> | null);
    if (length !== undefined && (length > 0 || EXPECTS_BODY.has(options.method))) {
      headers["content-length"] = String(length);
    }
    return headers;
  }

  #notOpened(error: Error): Error {
    const code = codeOf(error);
    const gone =
      code === "ERR_HTTP2_INVALID_SESSION" ||
      code === "ERR_HTTP2_GOAWAY_SESSION" ||
      code === "ERR_HTTP2_OUT_OF_STREAMS" ||
      this.#session.destroyed;
    if (!gone) return new errors.InvalidArgumentError(error.message);
    this.#drain();
    return Object.assign(new Error("the connection was closed"), { code: CONNECTION_GONE });
  }

  #setWanted(change: 1 | -1): void {
    this.#wanted += change;
    // The session's own ref() would reach a handle that may be gone.
    if (this.#wanted === 0) this.#socket.unref();
    else if (this.#wanted === 1 && change === 1) this.#socket.ref();
  }

  #drain(): void {
    if (this.draining) return;
    this.draining = true;
    this.onChange();
  }
}

const EXPECTS_BODY = new Set(["POST", "PUT", "PATCH"]);

function lengthOf(body: string | Uint8Array | Blob | AsyncIterable<Uint8Array> | null): number | undefined {
  if (body === null) return 0;
  if (typeof body === "string") return Buffer.byteLength(body);
  if (body instanceof Uint8Array) return body.byteLength;
  return body instanceof Blob ? body.size : undefined;
}

/** One stream, and what its handler holds to steer it. */
export class Http2Exchange implements Dispatcher.DispatchController {
  wanted = true;
  ended = false;
  rawHeaders = null;
  rawTrailers = null;
  readonly #session: Http2Session;
  readonly #stream: ClientHttp2Stream;
  readonly #handler: Dispatcher.DispatchHandler;
  readonly #head: boolean;
  #reason: Error | null = null;
  #status = 0;
  #declared: number | undefined;
  #received = 0;
  /** The server has ended the stream, as opposed to having reset it. */
  #complete = false;
  #error: Error | undefined;

  constructor(
    session: Http2Session,
    stream: ClientHttp2Stream,
    handler: Dispatcher.DispatchHandler,
    options: Dispatcher.DispatchOptions,
  ) {
    this.#session = session;
    this.#stream = stream;
    this.#handler = handler;
    this.#head = options.method === "HEAD";
    // Node ends the readable side alike for the server's END_STREAM and for a reset without an error in the middle of a
    // body; only in the second case the stream is closed when its end is pushed.
    const push = stream.push;
    stream.push = (chunk: unknown, encoding?: BufferEncoding) => {
      if (chunk === null && !stream.closed) this.#complete = true;
      return push.call(stream, chunk, encoding);
    };
    stream.on("response", this.#onResponse);
    stream.on("end", this.#onEnd);
    stream.once("close", this.#onClose);
    // Stays: an error without a listener would end the process. What it means is told when the stream closes.
    stream.on("error", (error) => {
      this.#error ??= error;
    });
  }

  get aborted(): boolean {
    return this.#reason !== null;
  }

  get paused(): boolean {
    return this.#stream.isPaused();
  }

  get reason(): Error | null {
    return this.#reason;
  }

  abort(reason: Error): void {
    if (this.ended) return;
    this.#reason = reason;
    if (this.#status === 0) this.#session.probe();
    this.fail(reason);
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  /** Ends the stream without an answer. */
  fail(error: Error): void {
    if (!this.#finish()) return;
    this.#stream.close(constants.NGHTTP2_CANCEL);
    // Rests of the body would keep a paused stream, and its share of the window, for as long as the session lives.
    this.#stream.resume();
    this.#handler.onResponseError?.(this, error);
  }

  readonly #onResponse = (headers: Record<string, unknown>): void => {
    if (this.ended) return;
    this.#status = Number(headers[":status"]);
    const plain: Record<string, string | string[]> = {};
    let bytes = 0;
    for (const name of Object.keys(headers)) {
      if (name.startsWith(":")) continue;
      const value = headers[name] as string | string[];
      plain[name] = value;
      bytes += name.length + (typeof value === "string" ? value.length : value.join("").length);
    }
    if (bytes > this.#session.maxHeaderBytes) return this.fail(new errors.HeadersOverflowError());
    const length = plain["content-length"];
    // That of a HEAD, a 204 or a 304 tells of a body that does not come.
    const bodiless = this.#head || this.#status === 204 || this.#status === 304;
    if (!bodiless && typeof length === "string") this.#declared = Number(length);
    this.#handler.onResponseStarted?.();
    this.#handler.onResponseStart?.(this, this.#status, plain, "");
    if (!this.ended) this.#stream.on("data", this.#onData);
  };

  readonly #onData = (chunk: Buffer): void => {
    if (this.ended) return;
    this.#received += chunk.length;
    this.#handler.onResponseData?.(this, chunk);
  };

  readonly #onEnd = (): void => {
    // A reset ends the readable side as well; then the stream's close tells what happened.
    if (this.#status === 0 || !this.#complete || this.#stream.rstCode !== constants.NGHTTP2_NO_ERROR) return;
    if (this.#declared !== undefined && this.#declared !== this.#received) {
      return this.fail(new errors.ResponseContentLengthMismatchError());
    }
    if (!this.#finish()) return;
    // The answer came before all of the request had left: nobody wants the rest.
    if (!this.#stream.writableEnded) this.#stream.close(constants.NGHTTP2_NO_ERROR);
    this.#handler.onResponseEnd?.(this, {});
  };

  readonly #onClose = (): void => {
    if (!this.#finish()) return;
    this.#handler.onResponseError?.(this, this.#failure());
  };

  #failure(): Error {
    const stream = this.#stream;
    const code = stream.rstCode;
    if (this.#status === 0 && this.#session.passedOver(stream.id)) {
      return withCode("the server closed the connection (GOAWAY) before it took the request", CONNECTION_GONE);
    }
    if (this.#status === 0 && code === constants.NGHTTP2_REFUSED_STREAM) {
      return withCode("the server refused the request before it looked at it (REFUSED_STREAM)", STREAM_REFUSED);
    }
    if (this.#session.socketClosed) return withCode("the connection closed", codeOf(this.#error) ?? "ECONNRESET");
    if (this.#error !== undefined && codeOf(this.#error) === "ERR_HTTP2_SESSION_ERROR") return this.#error;
    if (code === undefined || code === constants.NGHTTP2_NO_ERROR) {
      return withCode("the server ended the stream before the response was complete", "HTTP2_NO_ERROR");
    }
    const name = ERROR_NAMES[code] ?? `ERROR_${code}`;
    if (code === constants.NGHTTP2_ENHANCE_YOUR_CALM) {
      const either = "the server asked for less load, or its headers are larger than maxHeaderBytes";
      return withCode(`${either} (${name})`, `HTTP2_${name}`);
    }
    return withCode(`the server reset the stream (${name})`, `HTTP2_${name}`);
  }

  #finish(): boolean {
    if (this.ended) return false;
    this.ended = true;
    this.#session.streamEnded(this.#handler, this);
    return true;
  }
}

/** RFC 9113, section 7, by number. */
const ERROR_NAMES = [
  "NO_ERROR",
  "PROTOCOL_ERROR",
  "INTERNAL_ERROR",
  "FLOW_CONTROL_ERROR",
  "SETTINGS_TIMEOUT",
  "STREAM_CLOSED",
  "FRAME_SIZE_ERROR",
  "REFUSED_STREAM",
  "CANCEL",
  "COMPRESSION_ERROR",
  "CONNECT_ERROR",
  "ENHANCE_YOUR_CALM",
  "INADEQUATE_SECURITY",
  "HTTP_1_1_REQUIRED",
];

function withCode(message: string, code: string): Error {
  return Object.assign(new Error(message), { code });
}
