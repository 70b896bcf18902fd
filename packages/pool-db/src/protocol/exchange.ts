import { Columns, readFields, type Field, type TypeParsers } from "./columns.ts";
import { MalformedMessageError } from "./malformed-message.ts";
import type { MessageWriter, WireValue } from "./message-writer.ts";

/** pg's result, for one statement. */
export interface StatementResult {
  command: string | null;
  rowCount: number | null;
  oid: number | null;
  rows: unknown[];
  fields: Field[];
}

/** One statement of an exchange. */
export interface WireStatement {
  readonly text: string;
  /** Under which the server knows it, or shall know it; "" for the unnamed one. */
  readonly name: string;
  /** Whether the server has yet to parse it. */
  readonly parse: boolean;
  readonly values: readonly WireValue[];
  /** What it answers with; `undefined` asks the server. */
  readonly columns: Columns | undefined;
  readonly asArray: boolean;
  readonly types: TypeParsers;
  /** The server has parsed it. */
  readonly onParsed?: (() => void) | undefined;
  /** The server has told what it answers with. */
  readonly onColumns?: ((columns: Columns) => void) | undefined;
}

/** How an exchange ended: with an error, or with a result for each statement. */
export interface ExchangeOutcome {
  readonly results: readonly StatementResult[];
  readonly error: unknown;
  /** Which statement was being answered when it failed, counted from 0; -1 when all had been, and the commit failed. */
  readonly failedAt: number;
  /** Whether that statement's values had been accepted, and its execution had begun. */
  readonly bound: boolean;
  /** "I" outside of a transaction, "T" in one, "E" in a failed one; `undefined` when the connection was lost. */
  readonly status: string | undefined;
}

const NO_COLUMNS = new Columns([]);

/**
 * One or more statements and a Sync: they fail together, and outside of a transaction they are one. The wire calls the
 * methods in the order of the server's messages.
 */
export class Exchange implements ExchangeOutcome {
  readonly #statements: readonly WireStatement[];
  /** Prepared statements that the server shall forget first; it takes no round trip of its own. */
  readonly #closes: readonly string[];
  readonly #done: (outcome: ExchangeOutcome) => void;
  /** Whether others may be under way on the same connection. */
  readonly shared: boolean;
  readonly results: StatementResult[] = [];
  error: unknown = undefined;
  status: string | undefined = undefined;
  failedAt = -1;
  bound = false;
  #failed = false;
  /** The statement that is being answered, and its answer. */
  #current = 0;
  #columns: Columns | undefined;
  #result: StatementResult;

  constructor(
    statements: readonly WireStatement[],
    closes: readonly string[],
    shared: boolean,
    done: (outcome: ExchangeOutcome) => void,
  ) {
    this.#statements = statements;
    this.#closes = closes;
    this.shared = shared;
    this.#done = done;
    this.#result = newResult();
  }

  /** Never throws: what cannot be written (too large for the memory, or for a message) fails, and its Sync goes out alone. */
  write(writer: MessageWriter): void {
    for (const name of this.#closes) writer.closeStatement(name);
    const { length } = writer;
    try {
      for (const statement of this.#statements) writeStatement(writer, statement);
    } catch (error) {
      writer.backTo(length);
      this.fail(error);
    }
    writer.sync();
  }

  /** Whether nothing is written behind the statement that is being answered. */
  get atLast(): boolean {
    return this.#current === this.#statements.length - 1;
  }

  parseComplete(): void {
    this.#statements[this.#current]?.onParsed?.();
  }

  bindComplete(): void {
    this.bound = true;
  }

  /** `bytes[at, end)` is the body of the message. */
  rowDescription(bytes: Buffer, at: number, end: number): void {
    this.#describe(new Columns(readFields(bytes, at, end)));
  }

  noData(): void {
    this.#describe(NO_COLUMNS);
  }

  /** `bytes[at, end)` is the body of the message. */
  dataRow(bytes: Buffer, at: number, end: number): void {
    if (this.#failed) return;
    const statement = this.#statements[this.#current];
    if (statement === undefined) throw new MalformedMessageError("a row behind the last answer");
    try {
      const columns = this.#columns ?? this.#knownColumns(statement);
      this.#result.rows.push(columns.readRow(bytes, at, end, statement.asArray));
    } catch (error) {
      if (error instanceof MalformedMessageError) throw error;
      this.fail(error);
    }
  }

  /** `bytes[start, end)` is the command's tag. */
  commandComplete(bytes: Buffer, start: number, end: number): void {
    const statement = this.#statements[this.#current];
    if (statement === undefined) throw new MalformedMessageError("an answer behind the last one");
    const result = this.#result;
    readTag(result, bytes, start, end);
    const columns = this.#columns ?? statement.columns ?? NO_COLUMNS;
    // A copy: it is the caller's, and the columns are the next caller's too.
    result.fields = columns.fields.slice();
    if (result.rows.length > 0) columns.forget();
    this.#next();
  }

  /** The statement was an empty text. */
  emptyQuery(): void {
    if (this.#current === this.#statements.length) throw new MalformedMessageError("an answer behind the last one");
    this.#next();
  }

  fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    this.failedAt = this.#current < this.#statements.length ? this.#current : -1;
    this.error = error;
  }

  /** Whether the server has nothing more to say of it. */
  get answered(): boolean {
    return this.#failed || this.#current === this.#statements.length;
  }

  /** The server is ready for the next one, or the connection was lost. */
  end(status: string | undefined): void {
    this.status = status;
    this.#done(this);
  }

  #describe(columns: Columns): void {
    const statement = this.#statements[this.#current];
    if (statement === undefined || this.#failed) return;
    this.#columns = columns;
    statement.onColumns?.(columns);
    try {
      columns.useTypes(statement.types);
    } catch (error) {
      this.fail(error);
    }
  }

  #knownColumns({ columns = NO_COLUMNS, types }: WireStatement): Columns {
    columns.useTypes(types);
    this.#columns = columns;
    return columns;
  }

  #next(): void {
    this.results.push(this.#result);
    this.#current++;
    if (!this.#failed) this.bound = false;
    if (this.#current === this.#statements.length) return;
    this.#columns = undefined;
    this.#result = newResult();
  }
}

function writeStatement(writer: MessageWriter, { text, name, parse, values, columns }: WireStatement): void {
  if (parse) writer.parse(name, text);
  writer.bind(name, values);
  if (columns === undefined) writer.describePortal();
  writer.execute();
}

function newResult(): StatementResult {
  return { command: null, rowCount: null, oid: null, rows: [], fields: [] };
}

/** The usual commands, by their first letter: no string has to be made of the bytes. */
const COMMANDS: Record<number, string> = {
  0x53: "SELECT",
  0x49: "INSERT",
  0x55: "UPDATE",
  0x44: "DELETE",
  0x4d: "MERGE",
};
const SPACE = 32;

/** A tag is a word, more words, or a word and one or two numbers: the last is the number of rows, the first of two an oid. */
function readTag(result: StatementResult, bytes: Buffer, start: number, end: number): void {
  let at = start;
  while (at < end && bytes[at] !== SPACE) at++;
  const usual = COMMANDS[bytes[start] as number];
  result.command = usual !== undefined && isWord(usual, bytes, start, at) ? usual : bytes.toString("latin1", start, at);
  const first = readNumber(bytes, at + 1, end);
  if (first === undefined) return;
  at++;
  while (at < end && bytes[at] !== SPACE) at++;
  const second = readNumber(bytes, at + 1, end);
  if (second === undefined) {
    result.rowCount = first;
  } else {
    result.oid = first;
    result.rowCount = second;
  }
}

function isWord(word: string, bytes: Buffer, start: number, end: number): boolean {
  if (end - start !== word.length) return false;
  for (let index = 1; index < word.length; index++) {
    if (bytes[start + index] !== word.charCodeAt(index)) return false;
  }
  return true;
}

/** The digits from `at` on; `undefined` where there are none. */
function readNumber(bytes: Buffer, at: number, end: number): number | undefined {
  let value: number | undefined;
  for (let index = at; index < end; index++) {
    const digit = (bytes[index] as number) - 48;
    if (digit < 0 || digit > 9) break;
    value = (value ?? 0) * 10 + digit;
  }
  return value;
}
