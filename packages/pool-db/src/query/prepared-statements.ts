import type pg from "pg";
import type { Columns } from "../protocol/columns.ts";
import { forgetParsed, parsedByPg, rememberParsed } from "../protocol/pg-client.ts";
import type { KnownStatement } from "./statement-book.ts";
import { nameFor } from "./statement-name.ts";

/** What a statement that a connection has prepared is known by. */
export interface Prepared {
  readonly name: string;
  /** The name that the user gave; `undefined` where it is one of ours. */
  readonly given: string | undefined;
  readonly text: string;
  /** The server has said so. Until then nobody else relies on it. */
  parsed: boolean;
  columns: Columns | undefined;
  lastUse: number;
}

/** How the statements of a pool fare; only the counters are written from outside. */
export interface StatementCounts {
  hits: number;
  misses: number;
  evictions: number;
}

/**
 * The statements that one connection has prepared by itself: at most `capacity`, of which the least recently used leaves
 * for a new one. The server hears of that with the next exchange.
 */
export class PreparedStatements {
  readonly #capacity: number;
  readonly #counts: StatementCounts;
  readonly #prepared = new Map<string, Prepared>();
  /** Those that the user has named: not counted, and never evicted, as with pg. */
  readonly #given = new Map<string, Prepared>();
  readonly #client: pg.ClientBase;
  #closes: string[] = [];
  #clock = 0;
  /** When the exchange began that is being planned. What it uses must not leave: its Close would come first. */
  #planningSince = 0;

  constructor(client: pg.ClientBase, capacity: number, counts: StatementCounts) {
    this.#client = client;
    this.#capacity = capacity;
    this.#counts = counts;
  }

  /** From here on, all that is found or added is one exchange's. One that needed more than there is room for is over. */
  beginExchange(): void {
    this.#planningSince = this.#clock;
    while (this.#prepared.size > this.#capacity && this.#evict());
  }

  /** The statement of this text (and of the user's name for it), when the server has it. */
  find({ text }: KnownStatement, given: string | undefined): Prepared | undefined {
    if (given !== undefined) return this.#findGiven(text, given);
    const prepared = this.#prepared.get(text);
    if (prepared === undefined || !prepared.parsed) return undefined;
    prepared.lastUse = ++this.#clock;
    this.#counts.hits++;
    return prepared;
  }

  /**
   * A new one for this text, to be parsed by the exchange that is about to be written. `undefined` while another exchange
   * has it parsed, whose failure would be ours.
   */
  add({ text }: KnownStatement, given: string | undefined): Prepared | undefined {
    const map = given === undefined ? this.#prepared : this.#given;
    if (map.has(given ?? text)) return undefined;
    const prepared: Prepared = {
      name: given ?? nameFor(text),
      given,
      text,
      parsed: false,
      columns: undefined,
      lastUse: ++this.#clock,
    };
    if (given === undefined) {
      this.#counts.misses++;
      while (this.#prepared.size >= this.#capacity && this.#evict());
    }
    map.set(given ?? text, prepared);
    return prepared;
  }

  /** The server has it from now on. */
  parsed(prepared: Prepared): void {
    prepared.parsed = true;
    if (prepared.given !== undefined) rememberParsed(this.#client, prepared.given, prepared.text);
  }

  /** It was not parsed, or the server will not run it any more. `close`: the server still has it. */
  drop(prepared: Prepared, close: boolean): void {
    const { given, text, name } = prepared;
    const map = given === undefined ? this.#prepared : this.#given;
    if (map.get(given ?? text) !== prepared) return;
    map.delete(given ?? text);
    if (given !== undefined) forgetParsed(this.#client, given);
    if (close) this.#closes.push(name);
  }

  /**
   * The server has lost one of them, and so probably all. `close`: in case that it has not, which would leave their names
   * taken; to close what does not exist is no error.
   */
  clear(close: boolean): void {
    for (const prepared of [...this.#prepared.values(), ...this.#given.values()]) this.drop(prepared, close);
    if (!close) this.#closes = [];
  }

  /** Those that the pool has named are not what they would be if they were prepared now. */
  outdate(): void {
    for (const prepared of this.#prepared.values()) this.drop(prepared, true);
  }

  /** Names that the server shall forget with the next exchange. */
  takeCloses(): readonly string[] {
    if (this.#closes.length === 0) return NONE;
    const closes = this.#closes;
    this.#closes = [];
    return closes;
  }

  /** One that pg's own client has had parsed counts as well; and one that it had anew under this name is another. */
  #findGiven(text: string, given: string): Prepared | undefined {
    const byPg = parsedByPg(this.#client, given) === text;
    const prepared = this.#given.get(given);
    if (prepared === undefined && byPg) {
      const found: Prepared = { name: given, given, text, parsed: true, columns: undefined, lastUse: 0 };
      this.#given.set(given, found);
      return found;
    }
    return prepared?.parsed === true && byPg ? prepared : undefined;
  }

  /** Not one whose parsing is under way: its exchange relies on it. False when there is none to evict. */
  #evict(): boolean {
    let oldest: Prepared | undefined;
    for (const prepared of this.#prepared.values()) {
      if (!prepared.parsed || prepared.lastUse > this.#planningSince) continue;
      if (oldest === undefined || prepared.lastUse < oldest.lastUse) oldest = prepared;
    }
    if (oldest === undefined) return false;
    this.#counts.evictions++;
    this.drop(oldest, true);
    return true;
  }
}

const NONE: readonly string[] = [];
