/** One request as the server saw it, whole or in part. */
export interface FaultRequest {
  /** From 0, over all connections, in the order in which their first bytes came. */
  readonly number: number;
  /** The number of its connection, from 0. */
  readonly connection: number;
  /** From 0 on its connection; of HTTP/2 as well. */
  readonly onConnection: number;
  /** Empty until `state` is past "head". */
  readonly method: string;
  /** The target as it was sent, query included. */
  readonly path: string;
  /** Lower-case names; one that came twice is joined with ", ". Of HTTP/2, with its pseudo-headers. */
  readonly headers: Readonly<Record<string, string>>;
  /** Request line and headers as they came (latin1), without the blank line. Empty for HTTP/2. */
  readonly head: string;
  /** What has come of the body so far, at most `maxBodyBytes` of it. */
  readonly body: Buffer;
  /** How much of the body has come. */
  readonly bodyBytes: number;
  /**
   * What has come: a part of the head, the head and perhaps a part of the body, or all of it. One that is not complete
   * when its connection has ended never will be.
   */
  readonly state: "head" | "body" | "complete";
  /** Came on HTTP/2 after a GOAWAY that excludes it: recorded, and not answered. */
  readonly unprocessed: boolean;
}

/** The same while it comes. */
export class RequestRecord implements FaultRequest {
  readonly number: number;
  readonly connection: number;
  readonly onConnection: number;
  method = "";
  path = "";
  headers: Readonly<Record<string, string>> = {};
  head = "";
  bodyBytes = 0;
  state: "head" | "body" | "complete" = "head";
  unprocessed = false;
  readonly #maxBodyBytes: number;
  #pieces: Buffer[] = [];
  #kept = 0;

  constructor(place: { number: number; connection: number; onConnection: number }, maxBodyBytes: number) {
    this.number = place.number;
    this.connection = place.connection;
    this.onConnection = place.onConnection;
    this.#maxBodyBytes = maxBodyBytes;
  }

  get body(): Buffer {
    if (this.#pieces.length > 1) this.#pieces = [Buffer.concat(this.#pieces)];
    return this.#pieces[0] ?? Buffer.alloc(0);
  }

  hasHead(head: Pick<FaultRequest, "method" | "path" | "headers" | "head">): void {
    this.method = head.method;
    this.path = head.path;
    this.headers = head.headers;
    this.head = head.head;
    this.state = "body";
  }

  addBody(piece: Buffer): void {
    this.bodyBytes += piece.length;
    const kept = piece.subarray(0, this.#maxBodyBytes - this.#kept);
    if (kept.length === 0) return;
    this.#kept += kept.length;
    // A copy, which does not hold on to the whole of what was read with it.
    this.#pieces.push(Buffer.from(kept));
  }

  completed(): void {
    this.state = "complete";
  }
}

/** All requests of a server: the last ones themselves, and how many there were. */
export class Records {
  count = 0;
  readonly list: RequestRecord[] = [];
  readonly #maxRequests: number;
  readonly #maxBodyBytes: number;

  constructor(limits: { maxRequests: number; maxBodyBytes: number }) {
    this.#maxRequests = limits.maxRequests;
    this.#maxBodyBytes = limits.maxBodyBytes;
  }

  add(place: { connection: number; onConnection: number }): RequestRecord {
    const record = new RequestRecord({ number: this.count++, ...place }, this.#maxBodyBytes);
    this.list.push(record);
    // Rarely, and many at once: moving the whole list for each one would cost more than all else.
    if (this.list.length > 2 * this.#maxRequests) this.list.splice(0, this.list.length - this.#maxRequests);
    return record;
  }
}
