/** Turns what a caller gives as a body into something that can be sent, and sent again where that is possible. */

export type HttpBodyValue =
  | string
  | Uint8Array
  | ArrayBuffer
  | URLSearchParams
  | Blob
  | ReadableStream<Uint8Array>
  | AsyncIterable<Uint8Array | string>
  /** A plain object or an array: sent as JSON. */
  | object
  | null
  | undefined;

/** A value, or a function that makes a fresh one for each attempt; streams from a function can be retried. */
export type HttpBody = HttpBodyValue | (() => HttpBodyValue | Promise<HttpBodyValue>);

/** What undici sends. */
export type Payload = string | Uint8Array | Blob | AsyncIterable<Uint8Array> | null;

export interface OpenedBody {
  readonly payload: Payload;
  readonly contentType: string | undefined;
}

export class RequestBody {
  /** Set when the caller's stream or iterable threw; then the request failed for the caller's reason. */
  sourceError: { readonly error: unknown } | undefined;
  readonly #value: HttpBody;
  readonly #opened: OpenedBody | undefined;
  /** Somebody has begun to read a stream that exists only once. */
  #consumed = false;

  /** Throws an Error for what cannot be a body. */
  constructor(value: HttpBody) {
    this.#value = value;
    this.#opened = typeof value === "function" ? undefined : this.#convert(value);
  }

  get replayable(): boolean {
    return !this.#consumed;
  }

  /** The body for one attempt. Rejects with what a factory throws. */
  open(): OpenedBody | Promise<OpenedBody> {
    return this.#opened ?? this.#make();
  }

  async #make(): Promise<OpenedBody> {
    const made: HttpBodyValue = await (this.#value as () => HttpBodyValue | Promise<HttpBodyValue>)();
    if (typeof made === "function") throw new Error("a body function must return a body, not another function");
    return this.#convert(made);
  }

  #convert(value: HttpBodyValue): OpenedBody {
    if (value === undefined || value === null) return { payload: null, contentType: undefined };
    if (typeof value === "string") return { payload: value, contentType: "text/plain;charset=UTF-8" };
    if (value instanceof Uint8Array) return { payload: value, contentType: undefined };
    if (value instanceof ArrayBuffer) return { payload: new Uint8Array(value), contentType: undefined };
    if (value instanceof URLSearchParams) {
      return { payload: value.toString(), contentType: "application/x-www-form-urlencoded;charset=UTF-8" };
    }
    if (value instanceof Blob) return { payload: value, contentType: value.type === "" ? undefined : value.type };
    if (typeof value === "object" && Symbol.asyncIterator in value) {
      return { payload: this.#once(value as AsyncIterable<Uint8Array | string>), contentType: undefined };
    }
    if (isJson(value)) return { payload: JSON.stringify(value), contentType: "application/json" };
    throw new Error(
      "the body must be a string, bytes, URLSearchParams, a Blob, a stream, an async iterable, a plain object or array (JSON), or a function that returns one",
    );
  }

  async *#once(source: AsyncIterable<Uint8Array | string>): AsyncGenerator<Uint8Array> {
    if (typeof this.#value !== "function") this.#consumed = true;
    try {
      for await (const chunk of source) yield typeof chunk === "string" ? Buffer.from(chunk) : chunk;
    } catch (error) {
      this.sourceError = { error };
      throw error;
    }
  }
}

function isJson(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (Array.isArray(value) || typeof (value as { toJSON?: unknown }).toJSON === "function") return true;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null;
}
