/** An encoder and a decoder of protocol messages that share nothing with the ones under test. */

export function int16(value: number): Buffer {
  return Buffer.from([(value >> 8) & 255, value & 255]);
}

export function int32(value: number): Buffer {
  return Buffer.from([(value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]);
}

export function text(value: string): Buffer {
  return Buffer.concat([Buffer.from(value), Buffer.of(0)]);
}

export function message(type: string, ...body: readonly Buffer[]): Buffer {
  const bytes = Buffer.concat(body);
  return Buffer.concat([Buffer.from(type), int32(bytes.length + 4), bytes]);
}

export const READY: Buffer = message("Z", Buffer.from("I"));

export function commandComplete(tag: string): Buffer {
  return message("C", text(tag));
}

/** The columns of an answer, all of one type. */
export function rowDescription(names: readonly string[], oid = 25): Buffer {
  const fields = names.map((name) =>
    Buffer.concat([text(name), int32(0), int16(0), int32(oid), int16(-1), int32(-1), int16(0)]),
  );
  return message("T", int16(names.length), ...fields);
}

export function dataRow(values: readonly (string | null)[]): Buffer {
  return message("D", rowBody(values));
}

export function rowBody(values: readonly (string | null)[]): Buffer {
  const columns = values.map((value) => {
    if (value === null) return int32(-1);
    const bytes = Buffer.from(value);
    return Buffer.concat([int32(bytes.length), bytes]);
  });
  return Buffer.concat([int16(values.length), ...columns]);
}

export function errorResponse(severity: string, code: string, words: string): Buffer {
  return message("E", text(`S${severity}`), text(`V${severity}`), text(`C${code}`), text(`M${words}`), Buffer.of(0));
}

export function notice(words: string): Buffer {
  return message("N", text("SNOTICE"), text("C00000"), text(`M${words}`), Buffer.of(0));
}

/** Reads one thing behind another out of bytes. */
export class Reader {
  readonly #bytes: Buffer;
  at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get done(): boolean {
    return this.at >= this.#bytes.length;
  }

  bytes(length: number): Buffer {
    if (this.at + length > this.#bytes.length) throw new Error("it ends too early");
    const piece = this.#bytes.subarray(this.at, this.at + length);
    this.at += length;
    return piece;
  }

  int(length: number): number {
    return this.bytes(length).reduce((value, byte) => value * 256 + byte, 0);
  }

  signed(): number {
    const value = this.int(4);
    return value >= 2 ** 31 ? value - 2 ** 32 : value;
  }

  text(): Buffer {
    const from = this.at;
    while (this.int(1) !== 0);
    return this.#bytes.subarray(from, this.at - 1);
  }

  /** The next message: its type's letter, and its body. */
  message(): { type: string; body: Reader } {
    const type = this.bytes(1).toString();
    return { type, body: new Reader(this.bytes(this.int(4) - 4)) };
  }
}
