import type { Readable } from "node:stream";
import { errors, type Dispatcher } from "undici";
import type { Exchange } from "../exchange/exchange.ts";
import type { RawHeaders, Tap } from "../exchange/tap.ts";
import { PatientTimer } from "../patient-timer.ts";
import type { HttpResponse } from "../response.ts";
import { toDispatchError } from "./dispatch-error.ts";

type Handler = Dispatcher.DispatchHandler;
interface Settings {
  readonly handler: Handler;
  /** The stream that the caller gave as the body. */
  readonly source: Readable | undefined;
  /** The longest wait for the headers. It begins when the request has been sent, however long that takes. */
  readonly headersMs: number | undefined;
  readonly onEnd: (dispatched: Dispatched) => void;
}

type Headers = Record<string, string | string[] | undefined>;

/**
 * One request that came through `dispatch`: undici's controller to the caller, and the one who calls the caller's
 * handler, in undici's order: start, response, data, and end or error, of which exactly one comes and nothing after it.
 *
 * The start is told at once, not when a connection is there: that is what lets undici's own functions, which abort
 * through the controller, abort a request that still waits.
 */
export class Dispatched implements Dispatcher.DispatchController, Tap {
  aborted = false;
  paused = false;
  reason: Error | null = null;
  rawHeaders: RawHeaders = null;
  rawTrailers: RawHeaders = null;
  readonly #settings: Settings;
  readonly #handler: Handler;
  #exchange: Exchange | undefined;
  #response: HttpResponse | undefined;
  #headersTimer: PatientTimer | undefined;
  #trailers: Headers = {};
  #ended = false;

  constructor(settings: Settings) {
    this.#settings = settings;
    this.#handler = settings.handler;
  }

  run(exchange: Exchange): void {
    this.#exchange = exchange;
    const { source } = this.#settings;
    // Whether anybody reads from it yet or not.
    source?.on("error", (error) => this.abort(error));
    source?.on("close", () => {
      if (!source.readableEnded) this.abort();
    });
    this.#tell(() => this.#handler.onRequestStart?.(this, null));
    exchange.run().then(
      (response) => this.#respond(response),
      (error: unknown) => this.fail(error),
    );
  }

  pause(): void {
    this.paused = true;
    this.#response?.body.pause();
  }

  resume(): void {
    if (!this.paused) return;
    this.paused = false;
    this.#response?.body.resume();
  }

  abort(reason?: Error | null): void {
    if (this.#ended) return;
    const error = reason ?? new errors.RequestAbortedError();
    this.aborted = true;
    this.reason = error;
    this.fail(error);
    this.#exchange?.abort(error);
  }

  /** The end, for whatever reason; the first one counts. */
  fail(error: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    const told = toDispatchError(error);
    try {
      this.#handler.onResponseError?.(this, told);
    } finally {
      // Its owner learns from it, too, why nobody wants the rest.
      this.#close(told);
    }
  }

  // ---- what the attempts tell

  bodySent(chunk: Buffer): void {
    if (this.#handler.onBodySent !== undefined) this.#tell(() => this.#handler.onBodySent?.(chunk));
  }

  requestSent(): void {
    const { headersMs } = this.#settings;
    if (headersMs !== undefined) {
      this.#headersTimer?.cancel();
      this.#headersTimer = new PatientTimer(headersMs, () => this.#exchange?.expireAttempt(headersMs));
    }
    if (this.#handler.onRequestSent !== undefined) this.#tell(() => this.#handler.onRequestSent?.());
  }

  responseStarted(): void {
    if (this.#handler.onResponseStarted !== undefined) this.#tell(() => this.#handler.onResponseStarted?.());
  }

  informed(status: number, headers: Headers, statusText: string | undefined, raw: RawHeaders): void {
    this.rawHeaders = raw;
    this.#tell(() => this.#handler.onResponseStart?.(this, status, headers, statusText));
  }

  answered(raw: RawHeaders): void {
    this.#headersTimer?.cancel();
    this.rawHeaders = raw;
  }

  ended(trailers: Headers, raw: RawHeaders): void {
    this.#trailers = trailers;
    this.rawTrailers = raw;
  }

  // ---- the response

  #respond(response: HttpResponse): void {
    if (this.#ended) return;
    const { body } = response;
    this.#response = response;
    // Nothing flows before the handler knows of the response.
    body.pause();
    body.on("error", (error) => this.fail(error));
    body.on("end", () => this.#end());
    body.on("data", (chunk: Buffer) => this.#tell(() => this.#handler.onResponseData?.(this, chunk)));
    const headers = response.headers as Headers;
    this.#tell(() => this.#handler.onResponseStart?.(this, response.status, headers, response.statusText));
    if (!this.paused) body.resume();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    try {
      this.#handler.onResponseEnd?.(this, this.#trailers);
    } catch (error) {
      this.#handler.onResponseError?.(this, error as Error);
    } finally {
      this.#close(undefined);
    }
  }

  #close(error: Error | undefined): void {
    const { source, onEnd } = this.#settings;
    this.#headersTimer?.cancel();
    // There are streams without that method, and undici leaves those alone, too.
    if (typeof source?.destroy === "function") source.destroy(error);
    onEnd(this);
  }

  /** A handler that throws has had enough. */
  #tell(call: () => void): void {
    if (this.#ended) return;
    try {
      call();
    } catch (error) {
      this.abort(error as Error);
    }
  }
}
