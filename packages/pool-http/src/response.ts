import { Readable } from "node:stream";
import {
  HttpBodyTooLargeError,
  HttpJsonError,
  HttpRequestError,
  type HttpAttempt,
  type HttpPhaseTimes,
} from "./errors.ts";
import { headerText } from "./exchange/headers.ts";
import type { UnreadBody } from "./exchange/leak-watch.ts";
import { describeRequest, type Target } from "./exchange/target.ts";

/** Where the time of a request went, all attempts together; milliseconds. */
export interface HttpTimings extends HttpPhaseTimes {
  /** From the start of the request to the headers of this response. */
  readonly first_byte_ms: number;
}

/** How a response acts on the stream below its body. */
export interface StreamControl {
  /** Told when somebody asks for the body; until then a response that becomes garbage is a leak. */
  readonly unread: UnreadBody | undefined;
  /** Resolves when the connection is kept or closed. */
  discard(): Promise<void>;
  /** The body is larger than `limitBytes`, which is more than the caller wants in memory. */
  tooLarge(sizeBytes: number, limitBytes: number): void;
}

export interface HttpResponseParts {
  readonly status: number;
  readonly statusText: string;
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
  readonly journal: { readonly attempts: readonly HttpAttempt[]; readonly timings: HttpTimings };
  readonly body: Buffer | Readable;
  /** For streams. */
  readonly control: StreamControl | undefined;
  readonly pool: string;
  /** The one that this answers, after redirects. */
  readonly request: { readonly method: string; readonly target: Target; readonly maxResponseBytes: number };
}

/**
 * For fetch, whose body may go other ways: the whole of it, with `maxResponseBytes`. Where it is `alone`, nobody else
 * reads it, and beyond the limit the request has failed.
 */
export let collectPieces: (
  response: HttpResponse,
  pieces: AsyncIterable<Uint8Array>,
  alone: boolean,
) => Promise<Buffer>;

/**
 * A response. Its body is in memory, and `json`, `text` and `bytes` may be called any number of times, unless it was
 * asked for with `stream: true`: then the body is read once, and a body that nobody reads holds its connection until
 * `bodyTimeoutMs`; `await response.discard()` gives it back.
 */
export class HttpResponse {
  readonly status: number;
  readonly statusText: string;
  /** Lower-case names. A header that came more than once is an array ("set-cookie") or joined by the sender. */
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
  readonly #parts: HttpResponseParts;
  #stream: Readable | undefined;
  #taken = false;

  static {
    collectPieces = (response, pieces, alone) => response.#collect(pieces, undefined, alone);
  }

  constructor(parts: HttpResponseParts) {
    this.status = parts.status;
    this.statusText = parts.statusText;
    this.headers = parts.headers;
    this.#parts = parts;
    this.#stream = parts.body instanceof Readable ? parts.body : undefined;
    parts.control?.unread?.heldBy(this);
  }

  /** Every attempt, in order; the last one brought this response. */
  get attempts(): readonly HttpAttempt[] {
    return this.#parts.journal.attempts;
  }

  get timings(): HttpTimings {
    return this.#parts.journal.timings;
  }

  /** The final URL, after redirects. */
  get url(): string {
    return this.#parts.request.target.url.href;
  }

  /** A status from 200 to 299. Any status is a response: none of them throws. */
  get ok(): boolean {
    return this.status >= 200 && this.status < 300;
  }

  /** A header's value, whatever the case of its name; several are joined with ", ". */
  header(name: string): string | undefined {
    return headerText(this.headers[name.toLowerCase()]);
  }

  /** The body as a Node stream, which is an async iterable too; `Readable.toWeb` makes a web stream of it. */
  get body(): Readable {
    this.#take();
    if (this.#stream === undefined) {
      const bytes = this.#parts.body as Buffer;
      this.#stream = Readable.from(bytes.length === 0 ? [] : [bytes], { objectMode: false });
    }
    return this.#stream;
  }

  /**
   * The whole body. A stream beyond `maxResponseBytes` rejects with HttpBodyTooLargeError. `onPiece` is told the size of
   * each piece of a stream as it comes.
   */
  async bytes(onPiece?: (sizeBytes: number) => void): Promise<Uint8Array> {
    const { body, pool } = this.#parts;
    if (Buffer.isBuffer(body)) return body;
    if (this.#taken) {
      const request = this.#describe();
      throw new HttpRequestError(`${pool}: the streamed body of ${request} was read already. Read it once.`, {
        pool,
        request,
        sent: true,
      });
    }
    this.#take();
    return this.#collect(body as AsyncIterable<Uint8Array>, onPiece, true);
  }

  /** A copy of the whole body. */
  async arrayBuffer(): Promise<ArrayBuffer> {
    const bytes = await this.bytes();
    return new Uint8Array(bytes).buffer;
  }

  /** The body as UTF-8; a byte order mark is dropped. */
  async text(): Promise<string> {
    const { body } = this.#parts;
    return decodeText(Buffer.isBuffer(body) ? body : await this.bytes());
  }

  /** The body as JSON; throws HttpJsonError where it is none. `T` is the caller's claim, nothing checks it. */
  async json<T = unknown>(): Promise<T> {
    const { body } = this.#parts;
    const text = Buffer.isBuffer(body) ? decodeText(body) : await this.text();
    try {
      return JSON.parse(text) as T;
    } catch {
      const { pool } = this.#parts;
      const request = this.#describe();
      const type = this.header("content-type") ?? "no content-type";
      // No cause: the parser's message quotes the body.
      throw new HttpJsonError(
        `${pool}: ${request} answered ${this.status} with ${text.length} characters of ${type}, which are not JSON. Check \`status\` first, or read text().`,
        { pool, request, attempts: this.attempts, timings: this.timings, sent: true },
      );
    }
  }

  /**
   * Gives up the rest of a streamed body. Up to 64 KiB that come within a second are read and dropped, which keeps the
   * connection; otherwise it is closed. Resolves when that is decided.
   */
  async discard(): Promise<void> {
    this.#take();
    const { body, control } = this.#parts;
    if (!(body instanceof Readable) || control === undefined) return;
    const discarded = control.discard();
    body.destroy();
    await discarded;
  }

  async #collect(
    pieces: AsyncIterable<Uint8Array>,
    onPiece: ((sizeBytes: number) => void) | undefined,
    alone: boolean,
  ): Promise<Buffer> {
    const { control, pool } = this.#parts;
    const { maxResponseBytes: maxBytes } = this.#parts.request;
    const chunks: Uint8Array[] = [];
    let size = 0;
    for await (const chunk of pieces) {
      size += chunk.length;
      if (size > maxBytes) {
        if (alone) control?.tooLarge(size, maxBytes);
        const request = this.#describe();
        throw new HttpBodyTooLargeError(
          `${pool}: ${request}: the body has ${size} bytes or more, maxResponseBytes is ${maxBytes}. Raise it, or read \`body\` piece by piece.`,
          { pool, request, phase: "body", attempts: this.attempts, timings: this.timings, sent: true },
        );
      }
      chunks.push(chunk);
      onPiece?.(chunk.length);
    }
    return Buffer.concat(chunks);
  }

  #take(): void {
    this.#taken = true;
    this.#parts.control?.unread?.asked();
  }

  #describe(): string {
    const { method, target } = this.#parts.request;
    return describeRequest(method, target);
  }
}

/** Node's own decoder, which is several times as fast as a TextDecoder and replaces the same malformed bytes. */
function decodeText(bytes: Uint8Array): string {
  const buffer = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const marked = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  return buffer.toString("utf8", marked ? 3 : 0);
}
