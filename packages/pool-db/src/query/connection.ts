import type pg from "pg";
import { LeaseReleasedError } from "../errors.ts";
import type { Lease } from "../pool/slot.ts";
import { readBatch, type BatchItem, type BatchResults } from "./batch.ts";
import type { QueryOptions } from "./limits.ts";
import { readQueryCall, type QueryInput } from "./query-call.ts";
import { affectedRows, firstRow } from "./results.ts";
import { Session } from "./session.ts";

/**
 * A connection that is yours until `release()`: for session state, cursors, COPY, LISTEN, advisory locks. Get it with
 * `pool.acquire()`, and release it in a `finally`, or let `await using` do so.
 *
 * After the release, every method rejects with `LeaseReleasedError`: nobody reaches a stranger's connection by mistake.
 */
export class DbConnection {
  /**
   * pg's own client, for what this class does not offer (`client.on("notification", …)`, cursors). Do not keep it
   * beyond the release.
   */
  readonly client: pg.Client;
  readonly #pool: string;
  readonly #lease: Lease<pg.Client>;
  readonly #queryTimeoutMs: number;
  /** Made at the first query: a connection may be wanted for its client alone. */
  #madeSession: Session | undefined;

  constructor(pool: string, lease: Lease<pg.Client>, queryTimeoutMs: number) {
    this.client = lease.resource;
    this.#pool = pool;
    this.#lease = lease;
    this.#queryTimeoutMs = queryTimeoutMs;
  }

  /** As `pool.query`, on this connection. Calls that overlap run in the order of the calls. */
  async query<R extends pg.QueryResultRow = pg.QueryResultRow>(
    input: QueryInput,
    values?: readonly unknown[],
    options?: QueryOptions,
  ): Promise<pg.QueryResult<R>> {
    this.#check();
    return this.#session.run(readQueryCall(this.#pool, input, values, options));
  }

  /** The first row, or `undefined` when there is none. */
  async queryRow<R extends pg.QueryResultRow = pg.QueryResultRow>(
    input: QueryInput,
    values?: readonly unknown[],
    options?: QueryOptions,
  ): Promise<R | undefined> {
    return firstRow(await this.query<R>(input, values, options));
  }

  /** How many rows the statement affected; 0 for one that affects none. */
  async exec(input: QueryInput, values?: readonly unknown[], options?: QueryOptions): Promise<number> {
    return affectedRows(await this.query(input, values, options));
  }

  /** As `pool.batch`, on this connection. */
  async batch<const T extends readonly BatchItem[]>(items: T, options?: QueryOptions): Promise<BatchResults<T>> {
    this.#check();
    const call = readBatch(this.#pool, items, options);
    return call.batch?.length === 0 ? ([] as BatchResults<T>) : this.#session.run(call);
  }

  /**
   * Gives the connection back. One that was left inside a transaction is rolled back first.
   * @throws {LeaseReleasedError} at the second call
   */
  release(): void {
    this.#lease.release();
  }

  /** Closes the connection instead of giving it back: for one whose state cannot be trusted any more. */
  discard(): void {
    this.#lease.release(true);
  }

  /** Releases, unless that has been done. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#lease.released) this.#lease.release();
  }

  #check(): void {
    if (!this.#lease.released) return;
    throw new LeaseReleasedError(
      this.#pool,
      "query() called on a connection which has already been released to the pool. Acquire one for as long as it is used.",
    );
  }

  get #session(): Session {
    // Asked again at each statement's turn: one that waited until after the release would run in a stranger's hands.
    this.#madeSession ??= new Session(this.#pool, this.client, this.#queryTimeoutMs, () => this.#check());
    return this.#madeSession;
  }
}
