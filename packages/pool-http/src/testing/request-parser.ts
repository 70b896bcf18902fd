import type { RequestRecord } from "./records.ts";

/** What a parser tells of each request, in this order. */
export interface RequestEvents {
  /** Its first byte came. */
  started(): RequestRecord;
  /** Its head is complete: `record` has method, path and headers. */
  head(record: RequestRecord): void;
  complete(record: RequestRecord): void;
  /** The bytes are no request; nothing more is read. */
  broken(reason: string): void;
}

/** A head beyond it is refused: the server's memory is bounded. */
const MAX_HEAD_BYTES = 1024 * 1024;
/** A line that opens a chunk, or a trailer. */
const MAX_LINE_BYTES = 16 * 1024;

const CRLF = Buffer.from("\r\n");
const BLANK_LINE = Buffer.from("\r\n\r\n");

type State = "between" | "head" | "length" | "chunk-size" | "chunk" | "chunk-end" | "trailer" | "broken";

/**
 * Reads HTTP/1.1 requests (RFC 9112) from bytes, split anywhere. It wants only to find where each one ends, so it is
 * lenient: it is there to record what a client sends, not to judge it.
 */
export class RequestParser {
  readonly #events: RequestEvents;
  #state: State = "between";
  #pending: Buffer = Buffer.alloc(0);
  #record: RequestRecord | undefined;
  /** Of the body or of its present chunk. */
  #remaining = 0;

  constructor(events: RequestEvents) {
    this.#events = events;
  }

  push(chunk: Buffer): void {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    while (this.#step());
  }

  /** Whether there is more to do with the bytes at hand. */
  #step(): boolean {
    switch (this.#state) {
      case "between": {
        // Empty lines before a request are ignored (RFC 9112, section 2.2).
        let start = 0;
        while (this.#pending[start] === 0x0d || this.#pending[start] === 0x0a) start++;
        this.#take(start);
        if (this.#pending.length === 0) return false;
        this.#record = this.#events.started();
        this.#state = "head";
        return true;
      }
      case "head":
        return this.#head();
      case "length":
      case "chunk":
        return this.#body();
      case "chunk-size": {
        const line = this.#line(MAX_LINE_BYTES);
        if (line === undefined) return false;
        const size = /^[0-9a-f]+/i.exec(line)?.[0];
        if (size === undefined || size.length > 12) return this.#break(`a chunk of the size ${JSON.stringify(line)}`);
        this.#remaining = parseInt(size, 16);
        this.#state = this.#remaining === 0 ? "trailer" : "chunk";
        return true;
      }
      case "chunk-end": {
        const line = this.#line(MAX_LINE_BYTES);
        if (line === undefined) return false;
        if (line !== "") return this.#break("a chunk that is longer than its size");
        this.#state = "chunk-size";
        return true;
      }
      case "trailer": {
        const line = this.#line(MAX_LINE_BYTES);
        if (line === undefined) return false;
        return line === "" ? this.#complete() : true;
      }
      default:
        return false;
    }
  }

  #head(): boolean {
    const end = this.#pending.indexOf(BLANK_LINE);
    if (end > MAX_HEAD_BYTES || (end < 0 && this.#pending.length > MAX_HEAD_BYTES)) {
      return this.#break(`a request head of more than ${MAX_HEAD_BYTES} bytes`);
    }
    if (end < 0) return false;
    const record = this.#record as RequestRecord;
    const text = this.#pending.toString("latin1", 0, end);
    this.#take(end + BLANK_LINE.length);
    const [line = "", ...fields] = text.split("\r\n");
    const [method, path, version] = line.split(" ");
    if (method === undefined || path === undefined || version?.startsWith("HTTP/1.") !== true) {
      return this.#break(`the request line ${JSON.stringify(line.slice(0, 80))}`);
    }
    const headers: Record<string, string> = {};
    for (const field of fields) {
      const colon = field.indexOf(":");
      if (colon < 1) return this.#break(`the header line ${JSON.stringify(field.slice(0, 80))}`);
      const name = field.slice(0, colon).toLowerCase();
      const value = field.slice(colon + 1).trim();
      headers[name] = headers[name] === undefined ? value : `${headers[name]}, ${value}`;
    }
    record.hasHead({ method, path, headers, head: text });
    const chunked = headers["transfer-encoding"]?.toLowerCase().endsWith("chunked") === true;
    const length = chunked ? 0 : Number(headers["content-length"] ?? 0);
    if (!Number.isSafeInteger(length) || length < 0) return this.#break("an impossible content-length");
    this.#remaining = length;
    this.#state = chunked ? "chunk-size" : "length";
    this.#events.head(record);
    return !chunked && length === 0 ? this.#complete() : true;
  }

  #body(): boolean {
    const piece = this.#take(Math.min(this.#remaining, this.#pending.length));
    if (piece.length === 0) return false;
    this.#remaining -= piece.length;
    (this.#record as RequestRecord).addBody(piece);
    if (this.#remaining > 0) return false;
    if (this.#state === "length") return this.#complete();
    this.#state = "chunk-end";
    return true;
  }

  #complete(): boolean {
    const record = this.#record as RequestRecord;
    this.#record = undefined;
    this.#state = "between";
    record.completed();
    this.#events.complete(record);
    return true;
  }

  #break(what: string): false {
    this.#state = "broken";
    this.#pending = Buffer.alloc(0);
    this.#events.broken(`the client sent ${what}`);
    return false;
  }

  /** The bytes up to the next line end, which is taken, too. */
  #line(limit: number): string | undefined {
    const end = this.#pending.indexOf(CRLF);
    if (end < 0 && this.#pending.length > limit) this.#break(`a line of more than ${limit} bytes`);
    if (end < 0) return undefined;
    const line = this.#take(end).toString("latin1");
    this.#take(CRLF.length);
    return line;
  }

  #take(count: number): Buffer {
    const taken = this.#pending.subarray(0, count);
    this.#pending = this.#pending.subarray(count);
    return taken;
  }
}
