import { MalformedMessageError } from "./malformed-message.ts";
import { readInteger, readText } from "./text-decoder.ts";

/** A column of an answer, in the form of pg's `FieldDef`. */
export interface Field {
  readonly name: string;
  readonly tableID: number;
  readonly columnID: number;
  readonly dataTypeID: number;
  readonly dataTypeSize: number;
  readonly dataTypeModifier: number;
  readonly format: "text" | "binary";
}

type Parser = (value: string) => unknown;

/** Who knows how to read a type: a client, or the `types` of one query. pg's types allow anything to be returned. */
export interface TypeParsers {
  getTypeParser(oid: number, format?: string): unknown;
}

type Row = Record<string, unknown> | unknown[];
type RowMaker = (values: readonly unknown[]) => Row;

/** How a column is read: with a parser, or, for three of pg's own, without making a string only to take it apart. */
const TEXT = 0;
const INTEGER = 1;
const BOOLEAN = 2;
const CUSTOM = 3;

const LETTER_F = 0x66;
const LETTER_T = 0x74;

/** After so many rows of the same columns, a function of their own pays for itself. */
const ROWS_BEFORE_COMPILING = 40;

/** The columns of a statement's answer: what they are, and how to make a row of their bytes. */
export class Columns {
  readonly fields: readonly Field[];
  readonly #names: readonly string[];
  readonly #values: unknown[];
  readonly #parsers: unknown[];
  readonly #kinds: number[];
  #rows = 0;
  #makeRow: RowMaker;

  constructor(fields: readonly Field[]) {
    this.fields = fields;
    this.#names = fields.map(({ name }) => name);
    this.#values = fields.map(() => null);
    this.#parsers = fields.map(() => undefined);
    this.#kinds = fields.map(() => CUSTOM);
    this.#makeRow = (values) => {
      if (this.#rows++ >= ROWS_BEFORE_COMPILING) this.#makeRow = compileRowMaker(this.#names) ?? this.#plainRow;
      return this.#plainRow(values);
    };
  }

  /** Looks the parsers up; before each answer, because they may be set at any time. */
  useTypes(types: TypeParsers): void {
    const { fields } = this;
    for (let index = 0; index < fields.length; index++) {
      const { dataTypeID, format } = fields[index] as Field;
      const parser = types.getTypeParser(dataTypeID, format);
      if (parser === this.#parsers[index]) continue;
      this.#parsers[index] = parser;
      this.#kinds[index] = format === "text" && typeof parser === "function" ? kindOf(parser as Parser) : CUSTOM;
    }
  }

  /**
   * The row of a DataRow message with the body `bytes[at, end)`: a count of 16 bits, then for each column its length in 32
   * bits (-1 for NULL) and its bytes.
   * @throws {MalformedMessageError}
   * @throws {TypeError} for a value where `types` gave no function; and whatever a parser throws
   */
  readRow(bytes: Buffer, at: number, end: number, asArray: boolean): Row {
    const count = (bytes[at] as number) * 256 + (bytes[at + 1] as number);
    if (count !== this.#names.length) throw new MalformedMessageError("a row of another length than its columns");
    // An array that is handed out must be a new one.
    const values = asArray ? this.#values.slice() : this.#values;
    let from = at + 2;
    for (let index = 0; index < count; index++) {
      if (from + 4 > end) throw new MalformedMessageError("a row that ends too early");
      const length = bytes.readInt32BE(from);
      from += 4;
      if (length === -1) {
        values[index] = null;
      } else {
        const to = from + length;
        if (length < 0 || to > end) throw new MalformedMessageError("a value that is longer than its row");
        values[index] = this.#read(index, bytes, from, to);
        from = to;
      }
    }
    if (from !== end) throw new MalformedMessageError("a row that is longer than its values");
    return asArray ? values : this.#makeRow(values);
  }

  /** Lets go of the last row's values, which may be large; the columns live for as long as their prepared statement. */
  forget(): void {
    this.#values.fill(null);
  }

  #read(index: number, bytes: Buffer, from: number, to: number): unknown {
    const kind = this.#kinds[index] as number;
    if (kind === TEXT) return readText(bytes, from, to);
    if (kind === INTEGER) {
      const value = readInteger(bytes, from, to);
      return Number.isNaN(value) ? Number.parseInt(readText(bytes, from, to), 10) : value;
    }
    if (kind === BOOLEAN && to - from === 1) {
      // The same parser may have been set for a type that has more ways of saying yes.
      if (bytes[from] === LETTER_T) return true;
      if (bytes[from] === LETTER_F) return false;
    }
    const parser = this.#parsers[index];
    if (typeof parser !== "function") {
      throw new TypeError(`types.getTypeParser(${this.fields[index]?.dataTypeID}) gave no function`);
    }
    if (this.fields[index]?.format === "binary") {
      // pg hands a copy of the bytes to a parser of the binary format.
      return (parser as (value: Buffer) => unknown)(Buffer.from(bytes.subarray(from, to)));
    }
    return (parser as Parser)(readText(bytes, from, to));
  }

  readonly #plainRow: RowMaker = (values) => {
    const row: Record<string, unknown> = {};
    const names = this.#names;
    for (let index = 0; index < names.length; index++) setOwn(row, names[index] as string, values[index]);
    return row;
  };
}

function setOwn(row: Record<string, unknown>, name: string, value: unknown): void {
  if (name === "__proto__") Object.defineProperty(row, name, { value, ...OWN });
  else row[name] = value;
}

const OWN = { configurable: true, enumerable: true, writable: true };

/**
 * A function that makes a row by one object literal, which V8 does several times as fast as one property at a time. The
 * names stand in it as JSON strings, so whatever they hold stays a name. `undefined` where code may not be generated.
 */
function compileRowMaker(names: readonly string[]): RowMaker | undefined {
  // Of columns with the same name the last one counts, at the place of the first, in a literal as with assignments.
  const entries = names.map((name, index) => {
    const key = JSON.stringify(name);
    return `${name === "__proto__" ? `[${key}]` : key}:v[${index}]`;
  });
  try {
    // eslint-disable-next-line no-new-func, typescript/no-implied-eval -- see above: nothing of it is anybody's input but as a quoted name
    return new Function("v", `return {${entries.join(",")}}`) as RowMaker;
  } catch {
    return undefined;
  }
}

/** Three of pg's own parsers, recognised by what they do: anybody's parser of this text does the same. */
const OWN_PARSERS: readonly (readonly [RegExp, number])[] = [
  [/^function \w* ?\((\w+)\) ?\{ ?return String\(\1\);? ?\}$/, TEXT],
  [/^function \w* ?\((\w+)\) ?\{ ?return parseInt\(\1, 10\);? ?\}$/, INTEGER],
  [/^function parseBool ?\((\w+)\) ?\{ ?if \(\1 === null\) return \1 ?return \1 === 'TRUE' \|\|/, BOOLEAN],
];
const kinds = new WeakMap<Parser, number>();

function kindOf(parser: Parser): number {
  let kind = kinds.get(parser);
  if (kind === undefined) {
    const source = Function.prototype.toString.call(parser).replaceAll(/\s+/g, " ");
    kind = OWN_PARSERS.find(([form]) => form.test(source))?.[1] ?? CUSTOM;
    kinds.set(parser, kind);
  }
  return kind;
}

/** Of a field behind its name. */
const FIELD_BYTES = 18;

/**
 * The fields of a RowDescription message with the body `bytes[at, end)`.
 * @throws {MalformedMessageError}
 */
export function readFields(bytes: Buffer, at: number, end: number): Field[] {
  const count = (bytes[at] as number) * 256 + (bytes[at + 1] as number);
  const fields: Field[] = [];
  let from = at + 2;
  for (let index = 0; index < count; index++) {
    const nameEnd = bytes.indexOf(0, from);
    if (nameEnd === -1 || nameEnd + FIELD_BYTES >= end) throw new MalformedMessageError("columns that end too early");
    const name = readText(bytes, from, nameEnd);
    from = nameEnd + 1;
    fields.push({
      name,
      tableID: bytes.readUInt32BE(from),
      columnID: bytes.readInt16BE(from + 4),
      dataTypeID: bytes.readUInt32BE(from + 6),
      dataTypeSize: bytes.readInt16BE(from + 10),
      dataTypeModifier: bytes.readInt32BE(from + 12),
      format: bytes.readUInt16BE(from + 16) === 0 ? "text" : "binary",
    });
    from += FIELD_BYTES;
  }
  if (from !== end) throw new MalformedMessageError("columns that do not fill their message");
  return fields;
}
