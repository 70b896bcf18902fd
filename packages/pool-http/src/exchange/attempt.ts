/**
 * One try of a request over one connection: the undici handler, flat, with no other handler around it. It knows
 * nothing of retries or deadlines; whoever runs it calls `cancel`.
 *
 * Life: `start` → headers → either held (the runner decides what becomes of the body: `collect`, `stream`, `discard`)
 * or collected at once → end. `failure` of every stage arrives as a value; promises here never reject. The connection
 * goes back exactly once, when undici is done with it, whatever became of the runner.
 */
import type { Dispatcher } from "undici";
import type { Clock } from "../options.ts";
import type { Connection } from "../transport/connection.ts";
import { CONNECTION_GONE, STREAM_REFUSED } from "../transport/signals.ts";
import { codeOf, tooLarge, type Failure } from "../failure.ts";
import { BytesGoneError, type OpenedBody } from "./request-body.ts";
import type { PreparedRequest } from "./request.ts";
import { isRepeatable } from "./retry-policy.ts";

/** Where a streamed body goes. */
export interface BodySink {
  /** Returns false when it wants no more for now; it calls `resume` later. */
  deliver(chunk: Buffer): boolean;
  complete(): void;
  fail(failure: Failure): void;
}

/** Who runs an attempt. */
export interface AttemptRunner {
  readonly clock: Clock;
  /** Counters for all attempts of a pool. */
  readonly traffic: { sent(bytes: number): void; received(bytes: number): void };
  /** Whether an attempt stops at its headers, for the runner to decide. */
  holds(status: number): boolean;
}

/** Rests of unwanted responses up to this size are read, to keep the connection; beyond it, closing is cheaper. */
const HELD_BYTES = 64 * 1024;
const DISCARD_BYTES = 64 * 1024;
const DISCARD_MS = 1000;

export class Attempt implements Dispatcher.DispatchHandler {
  readonly connection: Connection;
  status = 0;
  headers: Record<string, string | string[]> = {};
  statusText = "";
  /** Of the body, as they came. */
  bytesReceived = 0;
  /** The request has begun to leave. */
  sent = false;
  /** The clock's time when the response's headers were complete. */
  respondedAt = 0;
  readonly #runner: AttemptRunner;
  readonly #request: PreparedRequest;
  readonly #body: OpenedBody;
  #chunks: Buffer[] = [];
  readonly #reused: boolean;
  #controller: Dispatcher.DispatchController | undefined;
  #mode: "waiting" | "held" | "collect" | "stream" | "discard" = "waiting";
  #responseBegan = false;
  /** Nothing that comes now matters to the runner. */
  #ended = false;
  /** undici is done with it, and the connection was given back. */
  #released = false;
  #failure: Failure | undefined;
  #resolve: ((failure: Failure | undefined) => void) | undefined;
  #sink: BodySink | undefined;
  #discardTimer: NodeJS.Timeout | undefined;
  #discardLimit = 0;
  #onReleased: (() => void) | undefined;

  constructor(runner: AttemptRunner, connection: Connection, request: PreparedRequest, body: OpenedBody) {
    this.connection = connection;
    this.#reused = connection.mayBeStale;
    this.#runner = runner;
    this.#request = request;
    this.#body = body;
  }

  /** It has come to its end, whoever still reads from it. */
  get over(): boolean {
    return this.#ended;
  }

  /** The whole body has come, without a stop at the headers. */
  get collected(): boolean {
    return this.#ended && this.#mode === "collect" && this.#failure === undefined;
  }

  get phase(): "headers" | "body" {
    return this.status === 0 ? "headers" : "body";
  }

  /** Sends the request; resolves when its headers are held or its body is complete, or with why not. */
  start(options: Dispatcher.DispatchOptions): Promise<Failure | undefined> {
    // undici takes iterables and Blobs as bodies; its types do not say so.
    options.body = this.#body.payload as string | null;
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      if (this.#mayBeLost()) this.#sendLater(options, reject);
      else this.#send(options);
    });
  }

  /** Held: reads the whole body into memory. */
  collect(): Promise<Failure | undefined> {
    return new Promise((resolve) => {
      this.#resolve = resolve;
      this.#mode = "collect";
      const { maxResponseBytes } = this.#request;
      const excess = this.bytesReceived > maxResponseBytes ? tooLarge(this.bytesReceived, maxResponseBytes) : undefined;
      if (this.#ended) return this.#settle(this.#failure ?? excess);
      if (excess !== undefined) return this.cancel(excess);
      this.#checkDeclaredSize();
      this.resume();
    });
  }

  /** Held: hands the body on as it comes. */
  stream(sink: BodySink): void {
    this.#mode = "stream";
    this.#sink = sink;
    for (const chunk of this.#chunks.splice(0)) sink.deliver(chunk);
    if (!this.#ended) this.resume();
    else if (this.#failure === undefined) sink.complete();
    else sink.fail(this.#failure);
  }

  /**
   * Held, or streaming: wants nothing more of the body; keeps the connection where the rest is small and comes soon.
   * Resolves when the connection has been given back, kept or closed.
   */
  discard(): Promise<void> {
    if (this.#released) return Promise.resolve();
    const released = new Promise<void>((resolve) => {
      this.#onReleased = resolve;
    });
    if (this.#ended) return released;
    this.#mode = "discard";
    this.#discardLimit = this.bytesReceived + DISCARD_BYTES;
    // Half a request body cannot be taken back, and finishing it for nobody is no use.
    if (!this.#body.complete || this.#declaredSize() > this.#discardLimit) {
      this.#abort();
    } else {
      this.#discardTimer = setTimeout(() => this.#abort(), DISCARD_MS);
      this.resume();
    }
    return released;
  }

  /** The body that was collected, as it came over the wire. */
  takeBody(): Buffer {
    const chunks = this.#chunks;
    this.#chunks = [];
    return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks, this.bytesReceived);
  }

  resume(): void {
    this.#controller?.resume();
  }

  /** Ends the attempt now, wherever it is. Without effect after its end. */
  cancel(failure: Failure): void {
    if (this.#ended) return;
    this.#end(failure);
    this.#abort();
  }

  onRequestStart(controller: Dispatcher.DispatchController): void {
    // undici waits for a turn before it writes to a connection that was used before. Nothing has left yet.
    if (this.#body.isGone) throw new BytesGoneError();
    this.#controller = controller;
    if (this.#ended) this.#abort();
    else this.sent = true;
  }

  onBodySent(chunk: Buffer | string): void {
    this.#runner.traffic.sent(typeof chunk === "string" ? Buffer.byteLength(chunk) : chunk.byteLength);
    this.#request.tap?.bodySent(chunk as Buffer);
  }

  onRequestSent(): void {
    this.#request.tap?.requestSent();
  }

  onResponseStarted(): void {
    this.#responseBegan = true;
    this.#request.tap?.responseStarted();
  }

  onResponseStart(
    controller: Dispatcher.DispatchController,
    status: number,
    headers: Record<string, string | string[] | undefined>,
    statusText?: string,
  ): void {
    if (this.#ended) return;
    // 1xx: the answer is yet to come.
    if (status < 200) return this.#request.tap?.informed(status, headers, statusText, controller.rawHeaders ?? null);
    this.#request.tap?.answered(controller.rawHeaders ?? null);
    this.status = status;
    this.statusText = statusText ?? "";
    this.headers = headers as Record<string, string | string[]>;
    this.respondedAt = this.#runner.clock.now();
    if (this.#runner.holds(status)) {
      this.#mode = "held";
      this.#settle(undefined);
    } else {
      this.#mode = "collect";
      this.#checkDeclaredSize();
    }
  }

  onResponseData(controller: Dispatcher.DispatchController, chunk: Buffer): void {
    this.bytesReceived += chunk.length;
    this.#runner.traffic.received(chunk.length);
    if (this.#ended) return;
    switch (this.#mode) {
      case "collect":
        if (this.bytesReceived <= this.#request.maxResponseBytes) this.#chunks.push(chunk);
        else this.cancel(tooLarge(this.bytesReceived, this.#request.maxResponseBytes));
        break;
      case "stream":
        if (this.#sink?.deliver(chunk) === false) controller.pause();
        break;
      case "discard":
        if (this.bytesReceived > this.#discardLimit) this.#abort();
        break;
      default:
        // What the runner decides is not known yet, but a small body may as well come meanwhile: to pause the parser and to
        // start it again costs more than many a body.
        this.#chunks.push(chunk);
        if (this.bytesReceived >= HELD_BYTES) controller.pause();
    }
  }

  onResponseEnd(
    controller: Dispatcher.DispatchController,
    trailers: Record<string, string | string[] | undefined>,
  ): void {
    if (this.connection.error !== undefined && this.#endsWithConnection()) {
      return this.onResponseError(controller, this.connection.error);
    }
    this.#request.tap?.ended(trailers, controller.rawTrailers ?? null);
    this.connection.answered(this.headers["keep-alive"]);
    if (this.#body.payload !== null) this.connection.bodyOver();
    this.#release();
    if (!this.#ended) this.#end(undefined);
  }

  onResponseError(_controller: Dispatcher.DispatchController | null, error: Error): void {
    if (this.#controller !== undefined) this.connection.failed();
    this.#release();
    if (!this.#ended) this.#end(this.#classify(error));
  }

  #send(options: Dispatcher.DispatchOptions): void {
    try {
      this.connection.dispatch(options, this);
    } catch (error) {
      if (this.#released) throw error;
      this.connection.failed();
      this.onResponseError(null, error as Error);
    }
  }

  /** What cannot be sent again would be lost on a connection that the server has closed. */
  #mayBeLost(): boolean {
    return this.#reused && !isRepeatable(this.#request) && !this.connection.isHttp2;
  }

  /**
   * In the next turn of the event loop, and undici waits for the one after that: if the server has closed the connection
   * right behind its last answer, which may have come in this very turn, that is read by then.
   */
  #sendLater(options: Dispatcher.DispatchOptions, failed: (error: unknown) => void): void {
    setImmediate(() => {
      if (this.#ended) return this.#release();
      try {
        this.#send(options);
      } catch (error) {
        failed(error);
      }
    });
  }

  #release(): void {
    this.#released = true;
    this.connection.release();
    // After the connection itself, which needs a turn of the microtask queue.
    if (this.#onReleased !== undefined) queueMicrotask(this.#onReleased);
  }

  #checkDeclaredSize(): void {
    const size = this.#declaredSize();
    if (size > this.#request.maxResponseBytes) this.cancel(tooLarge(size, this.#request.maxResponseBytes));
  }

  #declaredSize(): number {
    if (this.#request.method === "HEAD") return 0;
    const declared = Number(this.headers["content-length"]);
    return Number.isNaN(declared) ? 0 : declared;
  }

  /** Nothing but the end of the connection tells that the body is complete. */
  #endsWithConnection(): boolean {
    const bodiless = this.#request.method === "HEAD" || this.status === 204 || this.status === 304;
    return !bodiless && this.headers["content-length"] === undefined && this.headers["transfer-encoding"] === undefined;
  }

  #end(failure: Failure | undefined): void {
    this.#ended = true;
    this.#failure = failure;
    clearTimeout(this.#discardTimer);
    this.#request.body.close(this.#body);
    if (this.#mode !== "stream") return this.#settle(failure);
    if (failure === undefined) this.#sink?.complete();
    else this.#sink?.fail(failure);
  }

  #settle(failure: Failure | undefined): void {
    const resolve = this.#resolve;
    this.#resolve = undefined;
    resolve?.(failure);
  }

  #abort(): void {
    this.#controller?.abort(new Error("the request was given up"));
  }

  #classify(error: Error): Failure {
    const code = codeOf(error) ?? error.name;
    const { phase, sent } = this;
    const shown = error.name === "HTTPParserError" ? withoutData(error) : error;
    const failure = (reason: Failure["reason"], detail: string, cause: unknown = shown): Failure => ({
      reason,
      phase,
      code,
      detail,
      cause,
      sent,
    });
    if (this.#body.sourceError !== undefined) {
      return failure("request", "the source of the request body failed (see cause)", this.#body.sourceError.error);
    }
    if (code === CONNECTION_GONE) {
      return { ...failure("stale", error.message), code: "ECONNRESET", sent: false };
    }
    if (code === STREAM_REFUSED)
      return { ...failure("network", error.message), code: "HTTP2_REFUSED_STREAM", sent: false };
    // What a Blob is made from is a file, and that may have changed.
    if (error.name === "NotReadableError" && this.#body.payload instanceof Blob) {
      return failure("request", "the Blob of the request body could not be read (see cause)", error);
    }
    if (error instanceof BytesGoneError) return failure("request", error.message, error);
    switch (code) {
      case "UND_ERR_INVALID_ARG":
      case "UND_ERR_NOT_SUPPORTED":
      case "UND_ERR_REQ_CONTENT_LENGTH_MISMATCH":
        return failure("request", error.message);
      case "UND_ERR_HEADERS_OVERFLOW":
        return failure("protocol", "the response's headers are larger than maxHeaderBytes. Raise it if they should be");
      case "UND_ERR_RES_CONTENT_LENGTH_MISMATCH":
        // So undici calls whatever its parser refuses behind a content-length.
        if (phase === "headers") return failure("protocol", UNPARSABLE_FRAMING);
        return failure(
          "network",
          `the connection ended before the body was complete (${this.bytesReceived} bytes came)`,
        );
      default:
    }
    // undici refuses what nobody asked for, 100 Continue and 101 Switching Protocols, in these words only.
    if (phase === "headers" && this.#responseBegan && /^bad (?:response|upgrade)$/.test(error.message)) {
      const unasked = "the server sent 100 Continue or 101 Switching Protocols, which the request had not asked for";
      return failure("protocol", unasked);
    }
    // undici's parser errors carry no code. Within a body they mean, nearly always, that it broke off.
    if (error.name === "HTTPParserError" && phase === "headers") return failure("protocol", error.message);
    if (code.startsWith("ERR_SSL_")) {
      return failure(
        "tls",
        `${code}. The server broke off TLS; check tls.cert and tls.key if it asks for a certificate`,
      );
    }
    if (this.#reused && !this.#responseBegan) return failure("stale", `the reused connection broke (${code})`);
    // Servers refuse a missing client certificate by hanging up, without a word.
    const mutual = !this.#reused && !this.#responseBegan && this.connection.host.url.protocol === "https:";
    const hint = mutual ? "; if the server asks for a client certificate, check tls.cert and tls.key" : "";
    if (code.startsWith("HTTP2_")) return failure("network", error.message);
    return failure("network", `the connection broke (${code})${hint}`);
  }
}

const UNPARSABLE_FRAMING =
  "the response's headers cannot be parsed: behind its content-length there is another one, or transfer-encoding, or a line that is no header";

/** undici's parser hands out what it could not read, which is a part of somebody's answer. */
function withoutData(error: Error): Error {
  const shown = new Error(error.message);
  shown.name = error.name;
  return Object.assign(shown, { code: codeOf(error) ?? error.name });
}
