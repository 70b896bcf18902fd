/**
 * The response of fetch: a `Response` of the running Node by class and by its looks, which makes its headers and its web
 * stream only when somebody asks for them. Most callers want the status and the text or the JSON, and those are read
 * straight from the connection.
 */
import type { UnderlyingByteSource } from "node:stream/web";
import { HttpBodyTooLargeError } from "../errors.ts";
import { collectPieces, type HttpResponse } from "../response.ts";
import { toFetchError } from "./fetch-error.ts";

const NULL_BODY = new Set([101, 103, 204, 205, 304]);

/** What of a response stays the same in its clones. */
interface Facts {
  readonly response: HttpResponse;
  readonly signal: AbortSignal | undefined;
  readonly hasBody: boolean;
}

type MadeResponse = new (facts: Facts, copy?: Response, isClone?: boolean) => Response;

let made: MadeResponse | undefined;

/** `bytes` are the body where it was read already. */
export function fetchResponse(
  response: HttpResponse,
  method: string,
  signal: AbortSignal | undefined,
  bytes?: Uint8Array,
): Response {
  const hasBody = method !== "HEAD" && !NULL_BODY.has(response.status);
  // Nothing can come, and nobody could read it.
  if (!hasBody && bytes === undefined) response.body.resume();
  made ??= defineResponse();
  const body = hasBody && bytes !== undefined ? withType(response, toBuffer(bytes)) : undefined;
  return new made({ response, signal, hasBody }, body);
}

/**
 * At the first use: Node loads its `Response` when it is first named, and pools without fetch need none.
 *
 * It has the prototype of `Response` and not its inner state, for which it has no use. So what is borrowed from there,
 * `Response.prototype.text.call(response)`, fails with a TypeError, where a `Response` without a body would give "".
 */
function defineResponse(): MadeResponse {
  const Base = baseOf(Response);

  return class PoolResponse extends Base {
    readonly #facts: Facts;
    /** The one that does the work, once the body is wanted as a stream. */
    #real: Response | undefined;
    #headers: Headers | undefined;
    #used = false;
    #spent: ReadableStream<Uint8Array> | undefined;
    /** Others read the same body. */
    #isShared: boolean;

    constructor(facts: Facts, copy?: Response, isClone = false) {
      super();
      this.#facts = facts;
      this.#real = copy;
      this.#isShared = isClone;
    }

    get type(): "basic" {
      return "basic";
    }

    get url(): string {
      const { url } = this.#facts.response;
      const fragment = url.indexOf("#");
      return fragment < 0 ? url : url.slice(0, fragment);
    }

    get redirected(): boolean {
      return this.#facts.response.attempts.some(({ cause }) => cause === "redirect");
    }

    get status(): number {
      return this.#facts.response.status;
    }

    get ok(): boolean {
      return this.#facts.response.ok;
    }

    get statusText(): string {
      return this.#facts.response.statusText;
    }

    get headers(): Headers {
      return (this.#headers ??= readOnlyHeaders(this.#facts.response.headers));
    }

    get body(): ReadableStream<Uint8Array> | null {
      if (!this.#facts.hasBody) return null;
      if (this.#used) return (this.#spent ??= spentStream());
      return this.#opened().body as ReadableStream<Uint8Array> | null;
    }

    get bodyUsed(): boolean {
      return this.#used || (this.#real?.bodyUsed ?? false);
    }

    async text(): Promise<string> {
      const bytes = await this.#read();
      const marked = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
      return bytes.toString("utf8", marked ? 3 : 0);
    }

    async json(): Promise<unknown> {
      return JSON.parse(await this.text()) as unknown;
    }

    async bytes(): Promise<Uint8Array<ArrayBuffer>> {
      // A copy: small buffers share their memory with others.
      return new Uint8Array(await this.#read());
    }

    async arrayBuffer(): Promise<ArrayBuffer> {
      return (await this.bytes()).buffer;
    }

    async blob(): Promise<Blob> {
      return withType(this.#facts.response, await this.#read()).blob();
    }

    async formData(): Promise<FormData> {
      return withType(this.#facts.response, await this.#read()).formData();
    }

    clone(): Response {
      if (this.bodyUsed || this.#real?.body?.locked === true) {
        throw new TypeError("Response.clone: the body was read already, or is being read");
      }
      if (!this.#facts.hasBody) return new (this.constructor as MadeResponse)(this.#facts);
      this.#isShared = true;
      return new (this.constructor as MadeResponse)(this.#facts, this.#opened().clone(), true);
    }

    /** The whole body, read for the first and the only time. */
    async #read(): Promise<Buffer> {
      if (!this.#facts.hasBody) return Buffer.alloc(0);
      if (this.#real !== undefined) return this.#readOpened(this.#real);
      if (this.#used) throw new TypeError("Body is unusable: the body was read already");
      this.#used = true;
      const { response, signal } = this.#facts;
      try {
        signal?.throwIfAborted();
        const bytes = toBuffer(await response.bytes());
        // Until it was handed out, the body is under way, wherever its bytes are.
        signal?.throwIfAborted();
        return bytes;
      } catch (error) {
        throw bodyError(error, signal);
      }
    }

    /** The same by way of its web stream, which has no limit of its own. */
    async #readOpened({ body, bodyUsed }: Response): Promise<Buffer> {
      if (body === null) return Buffer.alloc(0);
      if (bodyUsed || body.locked) throw new TypeError("Body is unusable: the body was read already, or is being read");
      const { response, signal } = this.#facts;
      try {
        return await collectPieces(response, piecesOf(body), !this.#isShared);
      } catch (error) {
        // Whatever the stream itself fails with is a reader's already.
        throw error instanceof HttpBodyTooLargeError ? bodyError(error, signal) : error;
      }
    }

    /** With the body as a web stream, which from now on is the only way to it. */
    #opened(): Response {
      if (this.#real !== undefined) return this.#real;
      const { response, signal } = this.#facts;
      this.#real = withType(response, webStream(response, signal));
      return this.#real;
    }
  } satisfies MadeResponse;
}

/** The same prototype, without the constructor. */
function baseOf({ prototype }: typeof Response): new () => object {
  function Base(): void {}
  Base.prototype = prototype;
  return Base as unknown as new () => object;
}

/** A body with its type, which is what `blob` and `formData` go by. */
function withType(response: HttpResponse, body: Buffer | ReadableStream<Uint8Array>): Response {
  const type = response.header("content-type");
  return new Response(body as ReadableStream, type === undefined ? {} : { headers: { "content-type": type } });
}

/** What a reader of the body gets: the signal's reason as it is, or the word that Node's fetch uses, with our error. */
function bodyError(error: unknown, signal: AbortSignal | undefined): unknown {
  return signal?.aborted === true ? signal.reason : toFetchError(error, "terminated");
}

/** Read as it is wanted, chunk by chunk. Cancelled, it keeps the connection where the rest is small and comes soon. */
function webStream(response: HttpResponse, signal: AbortSignal | undefined): ReadableStream<Uint8Array> {
  const { body } = response;
  let iterator: AsyncIterator<Buffer> | undefined;
  const source: UnderlyingByteSource = {
    type: "bytes",
    start(controller) {
      // At once, and not when somebody next asks for a chunk.
      body.once("error", (error) => controller.error(bodyError(error, signal)));
    },
    async pull(controller) {
      iterator ??= body[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
      try {
        signal?.throwIfAborted();
        const { done, value } = await iterator.next();
        signal?.throwIfAborted();
        if (done === true) {
          controller.close();
          controller.byobRequest?.respond(0);
        } else {
          // A copy, for the stream takes the memory that it is given from everyone else.
          controller.enqueue(new Uint8Array(value));
        }
      } catch (error) {
        controller.error(bodyError(error, signal));
      }
    },
    cancel() {
      // Nobody who cancels wants to wait for it.
      void response.discard();
    },
  };
  return new ReadableStream(source) as ReadableStream<Uint8Array>;
}

/** Not the stream's own iterator, which waits for its end where it is left: a clone's comes with that of the others. */
async function* piecesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader: ReadableStreamDefaultReader<Uint8Array> = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

/** For the rare caller that asks for the stream of a body that was read as a whole. */
function spentStream(): ReadableStream<Uint8Array> {
  const stream = new ReadableStream<Uint8Array>({ start: (controller) => controller.close() });
  void stream.cancel();
  return stream;
}

/** The headers of a response that came over the network cannot be changed, says the standard. */
function readOnlyHeaders(from: HttpResponse["headers"]): Headers {
  const pairs: [string, string][] = [];
  for (const [name, value] of Object.entries(from)) {
    if (typeof value === "string") pairs.push([name, value]);
    else for (const item of value) pairs.push([name, item]);
  }
  const headers = new Headers(pairs);
  const refuse = (): never => {
    throw new TypeError(
      "Headers are immutable: those of a response cannot be changed. Copy them: new Headers(headers)",
    );
  };
  return Object.defineProperties(headers, {
    append: { value: refuse },
    delete: { value: refuse },
    set: { value: refuse },
  });
}

function toBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
