/**
 * Turns what a caller gives as a body into something that can be sent, and sent again where that is possible.
 *
 * Sources (streams, async iterables) are closed by us once we have taken them: one that a function made, when its
 * attempt ends; one that was given as it is, when the request ends, for until it is read it may serve another attempt.
 */
import { Readable } from "node:stream";
import { describeValue } from "@vg/internal";
import { isFormData, multipart } from "./multipart.ts";
import { takeStream } from "./used-stream.ts";

export type HttpBodyValue =
  | string
  | Uint8Array
  | ArrayBuffer
  | URLSearchParams
  | Blob
  /** Sent as multipart/form-data. */
  | FormData
  | ReadableStream<Uint8Array>
  | AsyncIterable<Uint8Array | string>
  /** A plain object or an array: sent as JSON. Other objects (a Map, a class of yours) are refused when they are sent. */
  | object
  | null
  | undefined;

/** A value, or a function that makes a fresh one for each attempt; streams from a function can be retried. */
export type HttpBody = HttpBodyValue | (() => HttpBodyValue | Promise<HttpBodyValue>);

/** What undici sends. */
export type Payload = string | Uint8Array | Blob | AsyncIterable<Uint8Array | string> | null;

/** A body for one attempt. */
export class OpenedBody {
  readonly payload: Payload;
  readonly contentType: string | undefined;
  /** Set when the caller's stream or iterable failed; then the request failed for the caller's reason. */
  sourceError: { readonly error: unknown } | undefined;
  /** Somebody has begun to read the source. */
  consumed = false;
  readonly #source: Source | undefined;
  /** Of bytes, when they were given. */
  readonly #byteLength: number = 0;
  #state: "open" | "read" | "closed" = "open";

  constructor(content: { payload: Payload; contentType?: string } | Source) {
    if ("payload" in content) {
      this.payload = content.payload;
      if (content.payload instanceof Uint8Array) this.#byteLength = content.payload.byteLength;
      this.contentType = content.contentType;
    } else {
      this.#source = content;
      this.payload = this.#chunksOf(content);
    }
  }

  /** Whether its source has nothing more to give; always so for what was in memory. */
  get complete(): boolean {
    return this.#source === undefined || this.#state === "read";
  }

  /** Whether their owner has given the bytes away since, or some of them: what is left is another body. */
  get isGone(): boolean {
    return this.#byteLength > 0 && (this.payload as Uint8Array).byteLength < this.#byteLength;
  }

  /** Closes the source, unless it was read to its end. Waits for nothing, and nothing that it throws matters. */
  dispose(): void {
    if (this.#source === undefined || this.#state !== "open") return;
    this.#state = "closed";
    try {
      this.#source.close();
    } catch {
      // The request has ended; its outcome is known.
    }
  }

  async *#chunksOf(source: Source): AsyncGenerator<Uint8Array | string> {
    this.consumed = true;
    try {
      for await (const chunk of source.chunks()) {
        if (typeof chunk !== "string" && !(chunk instanceof Uint8Array)) {
          const message = `a chunk of the body must be a string or bytes, got ${describeValue(chunk)}`;
          throw Object.assign(new TypeError(message), { code: "ERR_INVALID_ARG_TYPE" });
        }
        yield chunk;
      }
    } catch (error) {
      this.sourceError = { error };
      throw error;
    }
    // To the connection an end would mean that the body is complete.
    if (this.#state === "closed") throw new Error("the source of the body was closed");
    this.#state = "read";
  }
}

export class RequestBody {
  readonly #make: (() => HttpBodyValue | Promise<HttpBodyValue>) | undefined;
  readonly #opened: OpenedBody | undefined;
  readonly #once: boolean;

  /** Throws an Error for what cannot be a body. With `once` it is never sent again, whatever it is made of. */
  constructor(value: HttpBody, once = false) {
    this.#once = once;
    if (typeof value === "function") this.#make = value as () => HttpBodyValue | Promise<HttpBodyValue>;
    else this.#opened = open(value);
  }

  /** A source that exists only once can be sent only until somebody has begun to read it. */
  get replayable(): boolean {
    return !this.#once && this.#opened?.consumed !== true;
  }

  /** The body for one attempt. Rejects with what a factory throws. */
  open(): OpenedBody | Promise<OpenedBody> {
    if (this.#opened?.isGone === true) return Promise.reject(new BytesGoneError());
    return this.#opened ?? this.#fresh();
  }

  /** The attempt that had `opened` is over. */
  close(opened: OpenedBody): void {
    if (opened !== this.#opened || opened.consumed) opened.dispose();
  }

  /** The request is over. */
  dispose(): void {
    this.#opened?.dispose();
  }

  async #fresh(): Promise<OpenedBody> {
    const made: HttpBodyValue = await this.#make?.();
    if (typeof made === "function") throw new Error("a body function must return a body, not another function");
    return open(made);
  }
}

interface Source {
  /** Called once. */
  chunks(): AsyncIterable<unknown>;
  /** Effective at once, even while a read is pending. */
  close(): void;
}

function sourceOf(value: AsyncIterable<unknown>): Source {
  if (value instanceof ReadableStream) {
    // With a reader, because a stream that an iterator has locked cannot be cancelled while it waits.
    const reader: ReadableStreamDefaultReader<unknown> = value.getReader();
    return { chunks: () => readAll(reader), close: () => void reader.cancel().catch(ignore) };
  }
  if (value instanceof Readable) {
    // It may fail before anybody reads it; unheard, that would end the process. Whoever reads it then hears of it.
    value.on("error", ignore);
    return { chunks: () => value, close: () => void value.destroy() };
  }
  let iterator: AsyncIterator<unknown> | undefined;
  return {
    chunks: () => ({ [Symbol.asyncIterator]: () => (iterator = value[Symbol.asyncIterator]()) }),
    close: () => void iterator?.return?.().then(undefined, ignore),
  };
}

async function* readAll(reader: ReadableStreamDefaultReader<unknown>): AsyncGenerator {
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}

function open(value: HttpBodyValue): OpenedBody {
  if (value === undefined || value === null) return new OpenedBody({ payload: null });
  if (typeof value === "string") return new OpenedBody({ payload: value, contentType: "text/plain;charset=UTF-8" });
  if (value instanceof Uint8Array) return ofBytes(value);
  if (value instanceof ArrayBuffer) return ofBytes(isGone(value) ? undefined : new Uint8Array(value));
  if (value instanceof URLSearchParams) {
    const contentType = "application/x-www-form-urlencoded;charset=UTF-8";
    return new OpenedBody({ payload: value.toString(), contentType });
  }
  if (value instanceof Blob) {
    return new OpenedBody({ payload: value, ...(value.type === "" ? {} : { contentType: value.type }) });
  }
  if (isFormData(value)) return open(multipart(value));
  if (typeof value === "object" && Symbol.asyncIterator in value) {
    takeStream(value);
    return new OpenedBody(sourceOf(value as AsyncIterable<unknown>));
  }
  if (isJson(value)) return new OpenedBody({ payload: jsonOf(value), contentType: "application/json" });
  throw new Error(refusal(value));
}

/** What was there at the call is there no more; sent as it is, it would be an empty body. */
export class BytesGoneError extends Error {
  constructor() {
    super("the bytes of the body are gone: their ArrayBuffer was transferred or made smaller. Send a copy (.slice())");
    this.name = "BytesGoneError";
  }
}

function ofBytes(bytes: Uint8Array | undefined): OpenedBody {
  if (bytes === undefined || isGone(bytes)) throw new BytesGoneError();
  return new OpenedBody({ payload: bytes });
}

/** Whether bytes are those of an ArrayBuffer that was transferred, or is smaller than it was: they look as if there were none. */
export function isGone(bytes: unknown): boolean {
  if (bytes instanceof ArrayBuffer) return (bytes as { readonly detached?: boolean }).detached === true;
  if (!ArrayBuffer.isView(bytes)) return false;
  try {
    // Both throw where they are gone.
    if (bytes instanceof DataView) void bytes.byteLength;
    else Uint8Array.prototype.keys.call(bytes as Uint8Array);
    return false;
  } catch {
    return true;
  }
}

function jsonOf(value: unknown): string {
  // It is undefined where a toJSON() gives that, a function or a symbol; its type does not say so.
  const text = JSON.stringify(value) as string | undefined;
  if (text === undefined) {
    throw new Error(
      "the body's toJSON() gives nothing that JSON can say, and an empty body is no JSON. Give null or {}",
    );
  }
  return text;
}

function refusal(value: unknown): string {
  const allowed =
    "the body must be a string, bytes, URLSearchParams, a Blob, a FormData, a stream, an async iterable, a plain object or array (JSON), or a function that returns one";
  if (value instanceof Map) return `${allowed}. Send a Map as Object.fromEntries(map)`;
  const name: unknown = typeof value === "object" ? value?.constructor?.name : undefined;
  return `${allowed}; got ${typeof name === "string" && name !== "" ? `a ${name}` : describeValue(value)}`;
}

function isJson(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  if (Array.isArray(value) || typeof (value as { toJSON?: unknown }).toJSON === "function") return true;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || prototype === Object.prototype || Object.getPrototypeOf(prototype) === null;
}

function ignore(): void {}
