import { constants, type ClientHttp2Stream } from "node:http2";
import { errors, type Dispatcher } from "undici";
import { codeOf } from "../failure.ts";
import { CONNECTION_GONE, STREAM_REFUSED } from "./signals.ts";

/** What a stream needs to know of its session. */
export interface StreamSession {
  readonly maxHeaderBytes: number;
  readonly socketClosed: boolean;
  /** Whether the server left without having taken up this stream. */
  passedOver(stream: number | undefined): boolean;
  streamEnded(handler: Dispatcher.DispatchHandler, exchange: Http2Exchange): void;
  /** A request was given up before its response began. */
  probe(): void;
}

/** One stream, and what its handler holds to steer it. */
export class Http2Exchange implements Dispatcher.DispatchController {
  wanted = true;
  ended = false;
  rawHeaders = null;
  rawTrailers = null;
  readonly #session: StreamSession;
  readonly #stream: ClientHttp2Stream;
  readonly #handler: Dispatcher.DispatchHandler;
  readonly #head: boolean;
  #reason: Error | null = null;
  #status = 0;
  /** Headers have come, if only interim ones: the server has looked at it, whatever it says of that afterwards. */
  #lookedAt = false;
  #declared: number | undefined;
  #received = 0;
  /** The server has ended the stream, as opposed to having reset it. */
  #complete = false;
  #error: Error | undefined;

  constructor(
    session: StreamSession,
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
    stream.on("headers", this.#onInterim);
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

  readonly #onInterim = (): void => {
    this.#lookedAt = true;
  };

  readonly #onResponse = (headers: Record<string, unknown>): void => {
    if (this.ended) return;
    this.#lookedAt = true;
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
    const { writableEnded, writableLength } = this.#stream;
    if (!writableEnded || writableLength > 0) this.#stream.close(constants.NGHTTP2_NO_ERROR);
    this.#handler.onResponseEnd?.(this, {});
  };

  readonly #onClose = (): void => {
    if (!this.#finish()) return;
    this.#handler.onResponseError?.(this, this.#failure());
  };

  #failure(): Error {
    const stream = this.#stream;
    const code = stream.rstCode;
    if (!this.#lookedAt && this.#session.passedOver(stream.id)) {
      return withCode("the server closed the connection (GOAWAY) before it took the request", CONNECTION_GONE);
    }
    if (!this.#lookedAt && code === constants.NGHTTP2_REFUSED_STREAM) {
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
