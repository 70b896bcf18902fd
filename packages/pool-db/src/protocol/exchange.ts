import { Columns, readFields, type Field, type TypeParsers } from "./columns.ts";
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
  /** Which statement was being answered when it failed, counted from 0. */
  readonly failedAt: number;
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

  write(writer: MessageWriter): void {
    for (const name of this.#closes) writer.closeStatement(name);
    for (const { text, name, parse, values, columns } of this.#statements) {
      if (parse) writer.parse(name, text);
      writer.bind(name, values);
      if (columns === undefined) writer.describePortal();
      writer.execute();
    }
    writer.sync();
  }

  parseComplete(): void {
    this.#statements[this.#current]?.onParsed?.();
  }

  /** `at` is where the body of the message begins. */
  rowDescription(bytes: Buffer, at: number): void {
    this.#describe(new Columns(readFields(bytes, at)));
  }

  noData(): void {
    this.#describe(NO_COLUMNS);
  }

  dataRow(bytes: Buffer, at: number): void {
    if (this.#failed) return;
    const statement = this.#statements[this.#current] as WireStatement;
    try {
      const columns = this.#columns ?? this.#knownColumns(statement);
      this.#result.rows.push(columns.readRow(bytes, at, statement.asArray));
    } catch (error) {
      this.fail(error);
    }
  }

  /** `bytes[start, end)` is the command's tag. */
  commandComplete(bytes: Buffer, start: number, end: number): void {
    const statement = this.#statements[this.#current];
    if (statement === undefined) return;
    const result = this.#result;
    readTag(result, bytes, start, end);
    result.fields = (this.#columns ?? statement.columns ?? NO_COLUMNS).fields as Field[];
    this.#next();
  }

  /** The statement was an empty text. */
  emptyQuery(): void {
    this.#next();
  }

  fail(error: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    this.failedAt = this.#current;
    this.error = error;
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
    if (this.#current === this.#statements.length) return;
    this.#columns = undefined;
    this.#result = newResult();
  }
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
  result.command =
    usual !== undefined && usual.length === at - start && bytes[start + 1] === usual.charCodeAt(1)
      ? usual
      : bytes.toString("latin1", start, at);
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
