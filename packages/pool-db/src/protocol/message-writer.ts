/**
 * Writes the messages of PostgreSQL's extended query protocol (version 3.0; PostgreSQL documentation, 54.7 "Message
 * Formats") one behind another into one piece of memory, so that an exchange, or several, take one `write` to the socket.
 */

/** As it is sent: `null` is SQL's NULL, text is in text format, bytes are in binary format. */
export type WireValue = string | Buffer | null;

const SLAB_BYTES = 64 * 1024;
const NO_SLAB = Buffer.alloc(0);
/** Below it, a loop beats the call into C++ that `utf8Write` is. */
const SHORT = 48;
/** From it on, counting the bytes beats room for three times as many. */
const LONG = 4096;

const BIND = 0x42;
const CLOSE = 0x43;
const DESCRIBE = 0x44;
const EXECUTE = 0x45;
const PARSE = 0x50;
const PORTAL = 0x50;
const STATEMENT = 0x53;
const SYNC = 0x53;

export class MessageWriter {
  #slab: Buffer = Buffer.allocUnsafeSlow(SLAB_BYTES);
  #start = 0;
  #at = 0;

  /** What was written since the last `take()`. The memory is not used again. */
  take(): Buffer {
    const piece = this.#slab.subarray(this.#start, this.#at);
    if (this.#slab.length > SLAB_BYTES) {
      // Made for something large, which would otherwise be held for as long as small pieces find room behind it.
      this.#slab = NO_SLAB;
      this.#at = 0;
    }
    this.#start = this.#at;
    return piece;
  }

  /** How much has been written since the last `take()`. */
  get length(): number {
    return this.#at - this.#start;
  }

  /** Takes back all but the first `length` bytes: what could not be written to its end. */
  backTo(length: number): void {
    this.#at = this.#start + length;
  }

  parse(name: string, text: string): void {
    const length = this.#begin(PARSE);
    this.#text(name);
    this.#text(text);
    // No parameter types: the server infers them.
    this.#int16(0);
    this.#end(length);
  }

  /** To the unnamed portal, all columns of the answer in text format. */
  bind(statement: string, values: readonly WireValue[]): void {
    const length = this.#begin(BIND);
    this.#room(1);
    this.#slab[this.#at++] = 0;
    this.#text(statement);
    this.#formats(values);
    this.#int16(values.length);
    for (const value of values) {
      if (value === null) {
        this.#int32(-1);
      } else if (typeof value === "string") {
        // All of it at once: the memory must not change between the length and the characters.
        this.#room(4 + mostBytes(value));
        const from = this.#at + 4;
        this.#at = from;
        this.#characters(value);
        this.#slab.writeInt32BE(this.#at - from, from - 4);
      } else {
        this.#int32(value.length);
        this.#room(value.length);
        value.copy(this.#slab, this.#at);
        this.#at += value.length;
      }
    }
    this.#int16(0);
    this.#end(length);
  }

  describePortal(): void {
    this.#room(7);
    const slab = this.#slab;
    slab[this.#at] = DESCRIBE;
    slab.writeInt32BE(6, this.#at + 1);
    slab[this.#at + 5] = PORTAL;
    slab[this.#at + 6] = 0;
    this.#at += 7;
  }

  /** Of the unnamed portal, without a limit of rows. */
  execute(): void {
    this.#room(10);
    this.#slab[this.#at] = EXECUTE;
    this.#slab.fill(0, this.#at + 1, this.#at + 10);
    this.#slab[this.#at + 4] = 9;
    this.#at += 10;
  }

  closeStatement(name: string): void {
    const length = this.#begin(CLOSE);
    this.#room(1);
    this.#slab[this.#at++] = STATEMENT;
    this.#text(name);
    this.#end(length);
  }

  sync(): void {
    this.#room(5);
    this.#slab[this.#at] = SYNC;
    this.#slab.writeInt32BE(4, this.#at + 1);
    this.#at += 5;
  }

  /** Writes the message's type and leaves room for its length; returns where that stands, from the start of the piece. */
  #begin(type: number): number {
    this.#room(5);
    this.#slab[this.#at] = type;
    this.#at += 5;
    return this.#at - 4 - this.#start;
  }

  #end(length: number): void {
    const at = this.#start + length;
    this.#slab.writeInt32BE(this.#at - at, at);
  }

  /** No codes at all mean that all are text. */
  #formats(values: readonly WireValue[]): void {
    let bytes = false;
    for (const value of values) if (value !== null && typeof value !== "string") bytes = true;
    if (!bytes) return this.#int16(0);
    this.#int16(values.length);
    for (const value of values) this.#int16(value === null || typeof value === "string" ? 0 : 1);
  }

  #int16(value: number): void {
    this.#room(2);
    this.#at = this.#slab.writeUInt16BE(value, this.#at);
  }

  #int32(value: number): void {
    this.#room(4);
    this.#at = this.#slab.writeInt32BE(value, this.#at);
  }

  #text(text: string): void {
    this.#characters(text);
    this.#room(1);
    this.#slab[this.#at++] = 0;
  }

  #characters(text: string): void {
    this.#room(mostBytes(text));
    if (text.length <= SHORT && this.#ascii(text)) return;
    this.#at += this.#slab.write(text, this.#at, "utf8");
  }

  #ascii(text: string): boolean {
    const slab = this.#slab;
    const at = this.#at;
    const { length } = text;
    for (let index = 0; index < length; index++) {
      const code = text.charCodeAt(index);
      if (code > 127) return false;
      slab[at + index] = code;
    }
    this.#at = at + length;
    return true;
  }

  #room(bytes: number): void {
    if (this.#slab.length - this.#at >= bytes) return;
    const written = this.#at - this.#start;
    const slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, 2 * (written + bytes)));
    this.#slab.copy(slab, 0, this.#start, this.#at);
    this.#slab = slab;
    this.#start = 0;
    this.#at = written;
  }
}

/** UTF-8 takes three bytes at most for each UTF-16 unit. */
function mostBytes(text: string): number {
  return text.length < LONG ? text.length * 3 : Buffer.byteLength(text);
}
