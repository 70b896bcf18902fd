/**
 * Runs exchanges on the socket of a client that pg has connected, beside pg and not through it: pg writes each message by
 * itself, asks for the columns of every answer, and makes two events of each row, which takes longer than the query.
 *
 * pg stays the client's owner. While an exchange is under way the wire stands in as the client's active query, so pg's own
 * queue waits; it reads the messages that it knows and hands all others to pg's reader, one by one: errors come back as
 * pg's errors, notices and notifications as pg's events, and the end of the connection through the same path as for any
 * query. While none is under way pg's reader gets every byte as it came.
 *
 * Exchanges are answered in their order. Several may be under way at once (pipelining), if nobody else uses the client.
 */
import type pg from "pg";
import type { Exchange } from "./exchange.ts";
import { isForPg } from "./foreign-messages.ts";
import { MalformedMessageError } from "./malformed-message.ts";
import { MessageBoundaries } from "./message-boundaries.ts";
import { MessageWriter } from "./message-writer.ts";
import { isFatal } from "./server-error.ts";
import { takeInside, type ActiveQuery, type ClientInside, type StandIn } from "./pg-client.ts";

const BIND_COMPLETE = 0x32;
const CLOSE_COMPLETE = 0x33;
const COMMAND_COMPLETE = 0x43;
const DATA_ROW = 0x44;
const EMPTY_QUERY = 0x49;
const NO_DATA = 0x6e;
const PARSE_COMPLETE = 0x31;
const READY_FOR_QUERY = 0x5a;
const ROW_DESCRIPTION = 0x54;

const HEADER = 5;
/** PostgreSQL's own limit for what it sends. A length beyond it means that the bytes are no message. */
const MAX_MESSAGE = 0x3f_ff_ff_ff;

const STATUS: Record<number, string> = { 0x49: "I", 0x54: "T", 0x45: "E" };

/** One writer for all connections: what it has written is handed on before another one writes. */
const writer = new MessageWriter();
const wires = new WeakMap<pg.ClientBase, Wire>();

/** The wire of a client; `undefined` where it has none and everything goes through pg. */
export function wireOf(client: pg.ClientBase): Wire | undefined {
  return wires.get(client);
}

/**
 * Gives a client that has just connected, and is idle, its wire. Where pg does not look as expected (another version,
 * another class of client, its binary or pipeline mode) there is none, and nothing changes.
 */
export function attachWire(client: pg.Client): void {
  const inside = takeInside(client);
  if (inside !== undefined) wires.set(client, new Wire(inside));
}

export class Wire implements StandIn {
  /**
   * Called when the server is ready after what pg's own client ran, and before pg hears of it: with that (`undefined` after
   * a failure) and the status of the transaction.
   */
  afterPg: ((active: ActiveQuery | undefined, status: string) => void) | undefined;
  readonly #inside: ClientInside;
  readonly #boundaries: MessageBoundaries = new MessageBoundaries();
  /** Under way, in the order in which they will be answered. */
  #exchanges: Exchange[] = [];
  /** Not written yet. */
  #unwritten: Exchange[] = [];
  /** The beginning of a message of ours whose end has not come yet. */
  #partial: Buffer | undefined;
  #partialLength = 0;
  /** The client's active query, as pg sees it. */
  #standIn: StandIn = this;
  /** It has been cut: whatever still comes from the server counts no more. */
  #isCut = false;
  /** An error that comes from pg's reader now is the server's answer, and not the connection's end. */
  #serverSpeaks = false;

  constructor(inside: ClientInside) {
    this.#inside = inside;
    inside.readFirst((chunk) => this.#read(chunk));
  }

  /** How many exchanges are under way. */
  get underWay(): number {
    return this.#exchanges.length;
  }

  /**
   * The client must be ready, or be busy with nothing but exchanges of this wire. `standIn` is who stands in as its active
   * query, and passes on what it is told. Never throws.
   */
  run(exchange: Exchange, standIn: StandIn = this): void {
    if (this.#exchanges.length === 0) {
      this.#standIn = standIn;
      this.#inside.begin(standIn);
    }
    this.#exchanges.push(exchange);
    if (exchange.shared) {
      // What is asked for within one turn of the event loop takes one write.
      if (this.#unwritten.push(exchange) === 1) process.nextTick(writeAll, this);
    } else {
      exchange.write(writer);
      this.#inside.write(writer.take());
    }
  }

  /** @internal */
  writeUnwritten(): void {
    for (const exchange of this.#unwritten) exchange.write(writer);
    this.#unwritten.length = 0;
    this.#inside.write(writer.take());
  }

  // ---- Reading -------------------------------------------------------------------------------------------------------

  #read(chunk: Buffer): void {
    if (this.#isCut) return;
    if (this.#exchanges.length === 0) return this.#handOver(chunk, 0);
    let from = 0;
    if (this.#partial !== undefined) {
      from = this.#complete(chunk);
    } else if (!this.#boundaries.between) {
      // pg has the beginning of a message that came before the exchange.
      from = this.#boundaries.finish(chunk);
      this.#inside.toPg(chunk.subarray(0, from));
    }
    this.#readMessages(chunk, from);
  }

  /** The rest of the chunk is pg's to read. */
  #handOver(chunk: Buffer, from: number): void {
    const ready = STATUS[this.#boundaries.follow(chunk, from)];
    if (ready !== undefined) this.afterPg?.(this.#inside.active() ?? undefined, ready);
    this.#inside.toPg(from === 0 ? chunk : chunk.subarray(from));
  }

  #readMessages(chunk: Buffer, from: number): void {
    let at = from;
    const { length } = chunk;
    while (at < length && !this.#isCut) {
      if (this.#exchanges.length === 0) return this.#handOver(chunk, at);
      if (length - at < HEADER) return this.#keep(chunk, at, HEADER);
      const size = chunk.readInt32BE(at + 1);
      if (size < 4 || size > MAX_MESSAGE) {
        return this.#cut(new MalformedMessageError(`a message whose length cannot be right (${size} bytes)`));
      }
      const end = at + 1 + size;
      if (end > length) return this.#keep(chunk, at, end - at);
      this.#dispatch(chunk, at, end);
      at = end;
    }
  }

  /** Keeps the beginning of a message; `size` is as much as is known of its whole length. */
  #keep(chunk: Buffer, at: number, size: number): void {
    this.#partial = Buffer.allocUnsafeSlow(size);
    this.#partialLength = chunk.copy(this.#partial, 0, at);
  }

  /** Adds to the message that was kept, and returns from where the chunk goes on. */
  #complete(chunk: Buffer): number {
    let at = 0;
    for (;;) {
      const partial = this.#partial as Buffer;
      const taken = chunk.copy(partial, this.#partialLength, at);
      this.#partialLength += taken;
      at += taken;
      if (this.#partialLength < partial.length) return at;
      const size = partial.readInt32BE(1);
      if (partial.length === HEADER && size + 1 > HEADER && size <= MAX_MESSAGE) {
        this.#keep(partial, 0, size + 1);
        continue;
      }
      this.#partial = undefined;
      this.#readMessages(partial, 0);
      return at;
    }
  }

  #dispatch(bytes: Buffer, at: number, end: number): void {
    const exchange = this.#exchanges[0] as Exchange;
    const type = bytes[at] as number;
    if (type === READY_FOR_QUERY) return this.#ready(exchange, bytes, at + HEADER, end);
    try {
      if (!tell(exchange, type, bytes, at + HEADER, end)) this.#handMessageOver(type, bytes, at, end);
    } catch (error) {
      this.#cut(error as Error);
    }
  }

  /** @throws {MalformedMessageError} for what pg's reader would choke on, or nobody has asked for */
  #handMessageOver(type: number, bytes: Buffer, at: number, end: number): void {
    if (!isForPg(type, bytes, at + HEADER, end)) {
      throw new MalformedMessageError(`a message that does not belong there (of type 0x${type.toString(16)})`);
    }
    this.#serverSpeaks = true;
    try {
      this.#inside.toPg(bytes.subarray(at, end));
    } catch (error) {
      // Somebody's listener of notices or notifications. pg's reader would begin with this message for ever.
      rethrow(error);
      throw error;
    } finally {
      this.#serverSpeaks = false;
    }
  }

  #ready(exchange: Exchange, bytes: Buffer, body: number, end: number): void {
    const status = STATUS[bytes[body] as number];
    if (status === undefined || end - body !== 1 || !exchange.answered) {
      return this.#cut(new MalformedMessageError("that it is ready before it has answered"));
    }
    this.#exchanges.shift();
    // First pg, so that its client is ready when whoever waits for the exchange goes on.
    if (this.#exchanges.length === 0) this.#inside.end(status);
    endExchange(exchange, status);
    if (status !== "I" && exchange.shared) {
      this.#cut(new Error("a statement left a transaction open on a connection that others share"));
    }
  }

  /** Those under way fail with this error. */
  #cut(error: Error): void {
    this.#isCut = true;
    this.#inside.cut(error);
  }

  // ---- What pg's client tells its active query -------------------------------------------------------------------------

  handleError(error: Error): void {
    if (this.#serverSpeaks) {
      this.#exchanges[0]?.fail(error);
      // After a fatal error the server is never ready again; nobody need wait until it has closed the connection.
      const fatal = isFatal(error);
      if (fatal) this.#exchanges.shift()?.end(undefined);
      if (this.#exchanges.length === 0) return;
      // pg takes a query that failed for ended. This one ends when the server is ready again, or with those behind it.
      this.#inside.begin(this.#standIn);
      if (fatal) this.#cut(new Error(`the server has ended the connection: ${error.message}`));
      return;
    }
    const lost = this.#exchanges;
    this.#exchanges = [];
    this.#unwritten.length = 0;
    for (const exchange of lost) {
      exchange.fail(error);
      endExchange(exchange, undefined);
    }
  }

  handleReadyForQuery(): void {
    // The exchange has been ended, or will be, by the wire.
  }

  /**
   * There is nothing to copy. While it waits for data, the server overlooks a Sync, so it gets another; any other message
   * ends the wait, with an error, and then the Sync behind it counts.
   */
  handleCopyInResponse(): void {
    if (this.#exchanges[0]?.atLast !== true) return;
    this.#inside.refuseCopy();
    writer.sync();
    this.#inside.write(writer.take());
  }

  handleCopyData(): void {
    // What a COPY sends out is dropped; its tag ends the statement.
  }
}

function writeAll(wire: Wire): void {
  wire.writeUnwritten();
}

/** Tells the exchange what a message says; false when it is none of those that it knows. */
function tell(exchange: Exchange, type: number, bytes: Buffer, body: number, end: number): boolean {
  switch (type) {
    case DATA_ROW:
      exchange.dataRow(bytes, body, end);
      return true;
    case BIND_COMPLETE:
      exchange.bindComplete();
      return true;
    case CLOSE_COMPLETE:
      return true;
    case COMMAND_COMPLETE:
      exchange.commandComplete(bytes, body, end - 1);
      return true;
    case PARSE_COMPLETE:
      exchange.parseComplete();
      return true;
    case ROW_DESCRIPTION:
      exchange.rowDescription(bytes, body, end);
      return true;
    case NO_DATA:
      exchange.noData();
      return true;
    case EMPTY_QUERY:
      exchange.emptyQuery();
      return true;
    default:
      return false;
  }
}

/** A callback that throws harms no other exchange. */
function endExchange(exchange: Exchange, status: string | undefined): void {
  try {
    exchange.end(status);
  } catch (error) {
    rethrow(error);
  }
}

/** What a user's function has thrown is an uncaught error, as with pg. */
function rethrow(error: unknown): void {
  process.nextTick(() => {
    throw error;
  });
}
