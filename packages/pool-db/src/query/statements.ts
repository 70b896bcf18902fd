import type { PlainCall } from "./plain-call.ts";
import type { StatementCounts } from "./prepared-statements.ts";
import { StatementBook, type KnownStatement } from "./statement-book.ts";

export interface StatementSettings {
  /** Prepared statements a connection; 0 prepares none. */
  readonly cacheSize: number;
  /** A text is prepared once it was run more often than this, by whatever connection. */
  readonly threshold: number;
  /** Whether a pooler between us and the server gives each transaction another session; `undefined`: find out. */
  readonly transactionPooler: boolean | undefined;
  /** Find out with the first statement, not only when one is worth preparing. */
  readonly askEarly: boolean;
  /** Told once, when one is found. */
  readonly onPooler: () => void;
}

/** What the connections of a pool know together of its statements. */
export class Statements {
  readonly book: StatementBook = new StatementBook();
  readonly counts: StatementCounts = { hits: 0, misses: 0, evictions: 0 };
  readonly #settings: StatementSettings;
  #schema = 0;
  #pooler: boolean | undefined;

  constructor(settings: StatementSettings) {
    this.#settings = settings;
    this.#pooler = settings.transactionPooler;
  }

  get cacheSize(): number {
    return this.#settings.cacheSize;
  }

  /** Whether sessions change between transactions; `undefined` while that is not known. */
  get pooler(): boolean | undefined {
    return this.#pooler;
  }

  /**
   * Grows with each change of the schema that the pool has seen: what was prepared before is prepared anew. A text that was
   * meant for a `timestamp` would go into the `timestamptz` of a new table without its offset.
   */
  get schema(): number {
    return this.#schema;
  }

  schemaChanged(): void {
    this.#schema++;
  }

  /** Whether this text is worth preparing. */
  isHot({ plain, uses }: KnownStatement): boolean {
    const { cacheSize, threshold } = this.#settings;
    return plain && cacheSize > 0 && this.#pooler !== true && uses > threshold;
  }

  /** Whether it is time to find out about a pooler. */
  shouldAsk(known: readonly KnownStatement[], calls: readonly PlainCall[]): boolean {
    if (this.#pooler !== undefined || !known.every(({ plain }) => plain)) return false;
    if (this.#settings.askEarly) return true;
    return known.some((statement) => this.isHot(statement)) || calls.some(({ name }) => name !== undefined);
  }

  /** The session behind a connection is, or is not, the one that its login was answered by. */
  foundSession(same: boolean): void {
    if (this.#pooler !== undefined) return;
    this.#pooler = !same;
    if (!same) this.#settings.onPooler();
  }
}
