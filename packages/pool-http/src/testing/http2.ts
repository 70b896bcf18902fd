import {
  constants,
  performServerHandshake,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import type { Socket } from "node:net";
import { BaseExchange, writeTo, type ExchangeServices } from "./exchange.ts";
import type { ConnectionHost } from "./http1.ts";
import type { RequestRecord } from "./records.ts";
import { runScript, type FaultExchange, type FaultHeaders, type Script } from "./script.ts";
import { Wire } from "./wire.ts";

/** Answers the streams of one connection, each with its script, side by side. */
export function serveHttp2(socket: Socket, raw: Socket, signal: AbortSignal, host: ConnectionHost): void {
  const connection = new Http2Connection(socket, raw, signal);
  connection.session.on("error", () => {});
  connection.session.on("stream", (stream, headers) => serveStream(connection, stream, headers, host));
}

class Http2Connection {
  readonly session: ServerHttp2Session;
  readonly socket: Socket;
  readonly raw: Socket;
  readonly signal: AbortSignal;
  count = 0;
  /** Of the streams that are open, by their numbers. */
  readonly records = new Map<number, RequestRecord>();
  readonly #wire: Wire;
  /** The last stream that is processed; those after it only get recorded. */
  #lastStream = Infinity;

  constructor(socket: Socket, raw: Socket, signal: AbortSignal) {
    this.#wire = new Wire(socket);
    this.session = performServerHandshake(this.#wire, { maxSendHeaderBlockLength: LONGEST_HEAD_BYTES });
    this.socket = socket;
    this.raw = raw;
    this.signal = signal;
  }

  add(stream: number, record: RequestRecord): void {
    this.records.set(stream, record);
    record.unprocessed = stream > this.#lastStream;
  }

  /** Ends the connection in order, once the frames that the session holds back have been written. */
  end(): void {
    let turns = FRAMES_TURNS;
    const wait = (): void => {
      if (turns-- > 0) setImmediate(wait);
      else this.socket.end();
    };
    wait();
  }

  goAway(lastStream: number, code: number): void {
    this.#lastStream = Math.min(this.#lastStream, lastStream);
    for (const [stream, record] of this.records) if (stream > this.#lastStream) record.unprocessed = true;
    // Not by the session: it takes 0 for "all of them", and would hide the streams that come nevertheless. Nor may it
    // send one of its own when it closes, which would take back what this one says.
    this.session.goaway = () => {};
    this.#wire.write(goAwayFrame(this.#lastStream, code));
  }
}

function serveStream(
  connection: Http2Connection,
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  host: ConnectionHost,
): void {
  const left = new AbortController();
  // A stream's error says how it ended, which "close" says as well.
  stream.on("error", () => {});
  const id = stream.id ?? 0;
  stream.once("close", () => {
    connection.records.delete(id);
    left.abort(new Error("the stream has ended"));
  });
  const record = host.startRequest(connection.count++);
  const fields = Object.entries(headers).map(([name, value]) => [name, [value ?? ""].flat().join(", ")]);
  record.hasHead({
    method: headers[":method"] ?? "",
    path: headers[":path"] ?? "",
    headers: Object.fromEntries(fields) as Record<string, string>,
    head: "",
  });
  connection.add(id, record);
  const exchange = new Http2Exchange(host, connection, stream, record, left.signal);
  const run = (give: () => Script): void => void runScript(give, exchange, host.reporter);
  const early = record.unprocessed ? undefined : host.scriptForHead(record);
  if (early !== undefined) run(early);
  host.changed(record);
  stream.on("data", (piece: Buffer) => record.addBody(piece));
  stream.once("end", () => {
    // A stream that was reset "ends" as well.
    if (stream.rstCode !== constants.NGHTTP2_NO_ERROR || stream.aborted) return;
    record.completed();
    host.changed(record);
    if (early === undefined && !record.unprocessed) run(() => host.scriptForRequest(record));
  });
}

class Http2Exchange extends BaseExchange {
  readonly protocol = "h2";
  readonly #connection: Http2Connection;
  readonly #stream: ServerHttp2Stream;
  #isReset = false;

  constructor(
    services: ExchangeServices,
    connection: Http2Connection,
    stream: ServerHttp2Stream,
    request: RequestRecord,
    signal: AbortSignal,
  ) {
    super(services, { request, socket: connection.socket, raw: connection.raw, signal });
    this.#connection = connection;
    this.#stream = stream;
  }

  async respond(status: number, headers: FaultHeaders): Promise<void> {
    const fields: OutgoingHttpHeaders = {};
    for (const [name, value] of Object.entries(headers)) {
      // Framing is the protocol's own here, and names of HTTP/1.1 would be refused.
      if (!CONNECTION_HEADERS.has(name.toLowerCase())) fields[name] = typeof value === "object" ? [...value] : value;
    }
    if (status < 200) this.#stream.additionalHeaders({ ":status": status, ...fields });
    else {
      // Otherwise Node ends the body in order before it resets the stream, and the client takes it for whole.
      this.#stream.respond({ ":status": status, ...fields }, { waitForTrailers: true });
      this.#stream.once("wantTrailers", () => {
        if (!this.#isReset) this.#stream.sendTrailers({});
      });
    }
  }

  body(bytes: string | Uint8Array): Promise<void> {
    return writeTo(this.#stream, bytes, this.signal);
  }

  end(): void {
    this.#stream.end();
  }

  write(): Promise<void> {
    return Promise.reject(this.unavailable("writing raw bytes"));
  }

  override close(): void {
    // The session's own close waits for the streams that are open, and this one may never end.
    if (this.#stream.writableEnded) this.#connection.session.close();
    else this.#connection.end();
  }

  override stopReading(): void {
    this.#stream.pause();
  }

  override resetStream(code: string | number): void {
    this.#isReset = true;
    this.#stream.close(errorCode(code));
  }

  override goAway(options: { code: string | number; includingThis: boolean }): void {
    const id = this.#stream.id ?? 0;
    this.#connection.goAway(Math.max(0, options.includingThis ? id - 2 : id), errorCode(options.code));
  }

  protected override beside(): FaultExchange {
    const { signal } = this.#connection;
    return exchangeOn(this.services, this.#connection, this.#stream, this.request as RequestRecord, signal);
  }
}

/** A class that names itself in its own body would be renamed by the build. */
function exchangeOn(...parts: ConstructorParameters<typeof Http2Exchange>): FaultExchange {
  return new Http2Exchange(...parts);
}

/** Node sends no more than 64 KiB otherwise. */
const LONGEST_HEAD_BYTES = 64 * 1024 * 1024;

/** Turns of the event loop until the session has written what it was given. */
const FRAMES_TURNS = 8;

/** RFC 9113, section 6.8. */
function goAwayFrame(lastStream: number, code: number): Buffer {
  const frame = Buffer.alloc(17);
  frame[2] = 8;
  frame[3] = 7;
  frame.writeUInt32BE(lastStream, 9);
  frame.writeUInt32BE(code, 13);
  return frame;
}

const CONNECTION_HEADERS = new Set(["connection", "keep-alive", "transfer-encoding"]);

/** By name ("CANCEL") or number. */
function errorCode(code: string | number): number {
  if (typeof code === "number") return code;
  const known: unknown = (constants as unknown as Record<string, unknown>)[`NGHTTP2_${code}`];
  if (typeof known !== "number") throw new Error(`HTTP/2 has no error code ${JSON.stringify(code)}`);
  return known;
}
