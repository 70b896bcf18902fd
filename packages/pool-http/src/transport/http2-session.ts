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
import { connect, type ClientHttp2Session, type ClientHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import { errors, type Dispatcher } from "undici";
import { codeOf } from "../failure.ts";
import { sendBody } from "./http2-body.ts";
import { Http2Exchange, type StreamSession } from "./http2-exchange.ts";
import { CONNECTION_GONE } from "./signals.ts";

/** Larger than Node's, so that a body is not held up by the round trip: 256 KiB a stream. */
const STREAM_WINDOW_BYTES = 256 * 1024;
/** Node's limit of 10 MB for all that is on its way would make large bodies fail each other; windows bound it already. */
const MAX_MEMORY_MB = 1024;
/** How long a server may take to answer a PING before its connection counts as dead. */
const PING_TIMEOUT_MS = 5000;

export interface Http2Settings {
  /** Streams at once, however many more the server allows. */
  readonly maxStreams: number;
  readonly maxHeaderBytes: number;
}

export class Http2Session implements StreamSession {
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
      maxSessionMemory: MAX_MEMORY_MB,
      settings: {
        enablePush: false,
        initialWindowSize: STREAM_WINDOW_BYTES,
        // Node's own limit holds only once the server has acknowledged it; the exact one is checked below.
        maxHeaderListSize: 2 * settings.maxHeaderBytes,
      },
    });
    this.#session = session;
    // What slow readers leave unread counts against the connection's window, and must not hold back the others.
    session.once("connect", () => session.setLocalWindowSize(STREAM_WINDOW_BYTES * settings.maxStreams));
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
