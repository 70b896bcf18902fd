import type pg from "pg";
import { describeKind } from "@vg/internal";
import {
  CommitUnknownError,
  ConnectionLostError,
  PoolConfigError,
  QueryTimeoutError,
  TransactionAbortedError,
  TransactionStateError,
  describeError,
} from "../errors.ts";
import type { Lease } from "../pool/slot.ts";
import { activityOf, transactionStatusOf } from "../protocol/pg-client.ts";
import { readBatch, type BatchItem, type BatchResults } from "./batch.ts";
import { checkCallOptions } from "./call-options.ts";
import type { QueryOptions } from "./limits.ts";
import { ownStatement, readQueryCall, type QueryInput } from "./query-call.ts";
import { affectedRows, firstRow } from "./results.ts";
import { Savepoint, releaseStatement, rollbackStatement } from "./savepoint.ts";
import { Session, type SessionCall } from "./session.ts";
import { endsConnection, nameFailure, sqlStateOf } from "./sql-state.ts";

const COMMIT_OPTIONS = ["timeoutMs"] as const;

/** The time that a ROLLBACK gets before the connection is destroyed, which rolls back as well. */
const ROLLBACK_TIMEOUT_MS = 5_000;

/** "left": by a COMMIT or ROLLBACK that was sent as a statement. */
type TxState = "open" | "committed" | "rolled back" | "lost" | "left";

/**
 * A transaction on a connection of its own, from `pool.begin()`; or one that is nested in another, from
 * `tx.transaction()`. It ends once, with `commit()` or `rollback()`; leaving an `await using` block without a commit rolls
 * back. From the call that ends it on, every method rejects with `TransactionStateError`, so a statement that comes too
 * late never runs outside of the transaction.
 *
 * A statement that was given up while it ran (timeout, abort) fails the transaction, as one does that the server refuses:
 * all that is left is a rollback, to a savepoint or of the whole.
 */
export class Tx {
  readonly #pool: string;
  readonly #lease: Lease<pg.Client>;
  readonly #session: Session;
  readonly #signal: AbortSignal | undefined;
  /** The one that this is nested in; both have the connection and its session in common. */
  readonly #parent: Tx | undefined;
  /** The last one that was nested in this. */
  #child: Tx | undefined;
  /** What this one is on the server, where it is nested. */
  readonly #point: string;
  #state: TxState = "open";
  /** The first statement that failed, unless that was undone: the reason for a COMMIT that the server answers with ROLLBACK. */
  #failure: unknown;
  /** Those that are open, in the order in which they were made. */
  readonly #savepoints: Savepoint[] = [];
  /** Of the outermost: how many names have been given to savepoints. */
  #names = 0;

  /** @internal Use `pool.begin()`. The lease's connection has answered BEGIN. */
  constructor(
    pool: string,
    lease: Lease<pg.Client>,
    queryTimeoutMs: number,
    signal: AbortSignal | undefined,
    parent?: Tx,
  ) {
    this.#pool = pool;
    this.#lease = lease;
    this.#signal = signal;
    this.#parent = parent;
    this.#session =
      parent === undefined
        ? new Session(pool, lease.resource, queryTimeoutMs, () => this.#checkStatus())
        : parent.#session;
    this.#point = parent === undefined ? "" : this.#newName();
  }

  /**
   * Whether it was committed or rolled back, by whatever means, or lost its connection in COMMIT; and, nested, whether
   * one around it was.
   */
  get ended(): boolean {
    return this.#state !== "open" || (this.#parent?.ended ?? false);
  }

  /** As `pool.query`, in this transaction. Calls that overlap run in the order of the calls. */
  async query<R extends pg.QueryResultRow = pg.QueryResultRow>(
    input: QueryInput,
    values?: readonly unknown[],
    options?: QueryOptions,
  ): Promise<pg.QueryResult<R>> {
    this.#check("query()");
    const call = readQueryCall(this.#pool, input, values, options);
    return this.#run({ ...call, signal: anyOf(call.signal, this.#signal) });
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

  /** As `pool.batch`, in this transaction: the first error fails it. */
  async batch<const T extends readonly BatchItem[]>(items: T, options?: QueryOptions): Promise<BatchResults<T>> {
    this.#check("batch()");
    const call = readBatch(this.#pool, items, options);
    if (call.batch?.length === 0) return [] as BatchResults<T>;
    return this.#run({ ...call, signal: anyOf(call.signal, this.#signal) });
  }

  /**
   * Runs `work` in a transaction within this one, to any depth: a savepoint that is released when `work` has succeeded,
   * and rolled back to when it has failed. Then the error is thrown, and this transaction can go on. `work` uses the
   * handle that it gets.
   *
   * While it is open this one refuses everything but `rollback()`, a second nested one included: what is sent here would
   * be undone with the nested one without anybody knowing.
   *
   * @throws {TransactionAbortedError} `work` succeeded although a statement of it had failed; it was rolled back
   */
  async transaction<T>(work: (tx: Tx) => Promise<T>, options: Record<string, never> = {}): Promise<T> {
    this.#check("transaction()");
    if (describeKind(options) !== "an object" || Object.keys(options).length > 0) {
      throw new PoolConfigError(
        this.#pool,
        `transaction(): a nested transaction takes no options, its isolation and limits are the outermost one's; got ${Object.keys(options ?? {}).join(", ") || describeKind(options)}. Give them to pool.transaction(), or to the statements.`,
      );
    }
    if (typeof work !== "function") {
      throw new PoolConfigError(this.#pool, `transaction() takes an async function first, got ${describeKind(work)}.`);
    }
    // It has the session of this one, and with it the default of its statements.
    const nested = nestedIn(this, this.#pool, this.#lease, this.#signal);
    this.#child = nested;
    try {
      await this.#run(ownStatement(`SAVEPOINT ${nested.#point}`, { signal: this.#signal }));
    } catch (error) {
      nested.#state = "rolled back";
      throw error;
    }
    try {
      const result = await work(nested);
      if (nested.#stateNow() === "open") await nested.commit();
      return result;
    } finally {
      await nested[Symbol.asyncDispose]();
    }
  }

  /** A point to roll back to without giving up the transaction. Ending it ends those that were made after it. */
  async savepoint(): Promise<Savepoint> {
    this.#check("savepoint()");
    const name = this.#newName();
    const savepoint = new Savepoint(name, {
      end: (what) => this.#endSavepoint(savepoint, `${what} of a savepoint`),
      isOpen: () => !this.ended && !this.#lost && this.#savepoints.includes(savepoint),
      run: async (text) => void (await this.#run(ownStatement(text))),
    });
    // Now, not when the server has answered: whoever ends an earlier one meanwhile ends this one too.
    this.#savepoints.push(savepoint);
    try {
      await this.#run(ownStatement(`SAVEPOINT ${name}`, { signal: this.#signal }));
    } catch (error) {
      const index = this.#savepoints.indexOf(savepoint);
      if (index !== -1) this.#savepoints.splice(index, 1);
      throw error;
    }
    return savepoint;
  }

  /**
   * Commits, after the statements that were called before it; nested, it becomes a part of the one around it.
   * `timeoutMs` bounds it; default `queryTimeoutMs`. A COMMIT that takes longer is not cancelled; its connection is closed.
   * @throws {TransactionAbortedError} a statement had failed, so this was rolled back instead
   * @throws {CommitUnknownError} the connection was lost meanwhile, or the time was up: the transaction may be committed
   *   or not
   */
  async commit(options: { timeoutMs?: number | undefined } = {}): Promise<void> {
    checkCallOptions(this.#pool, "commit()", options, COMMIT_OPTIONS);
    this.#check("commit()");
    if (this.#signal?.aborted) {
      await this.rollback();
      throw this.#signal.reason;
    }
    this.#state = "committed";
    await (this.#parent === undefined ? this.#commit(options) : this.#commitNested(options));
  }

  /**
   * Rolls back, after the statements that were called before it. Does not fail where the connection has been lost, or
   * does not answer in time: it is destroyed, and the server rolls back by itself. Nested, it undoes itself only, and the
   * one around it goes on.
   */
  async rollback(): Promise<void> {
    this.#check("rollback()");
    this.#state = "rolled back";
    if (this.#parent !== undefined) return this.#undo();
    try {
      await this.#session.run(lastStatement("ROLLBACK"));
    } catch (error) {
      if (this.#stateNow() === "left") throw error;
      this.#release(error);
      return;
    }
    this.#release();
  }

  /** Rolls back, unless the transaction has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.ended) return;
    await this.rollback().catch((error: unknown) => {
      // A COMMIT or ROLLBACK of its own has ended it: there is nothing to roll back.
      if (!(error instanceof TransactionStateError)) throw error;
    });
  }

  async #commit({ timeoutMs }: QueryOptions): Promise<void> {
    let sent = false;
    let result: pg.QueryResult;
    try {
      // Without the signal, and never cancelled: after a COMMIT that is cut off nobody knows its outcome.
      result = await this.#session.run({
        ...ownStatement("COMMIT", { timeoutMs }),
        atLimit: "close",
        onSend: () => {
          sent = true;
        },
      });
    } catch (error) {
      if (this.#stateNow() === "left") throw error;
      // A server that answers with an error (a deferred constraint, a serialization failure) has rolled back.
      const certain = !sent || (!this.#lost && !endsConnection(error));
      this.#state = certain ? "rolled back" : "lost";
      this.#release(error);
      if (certain) throw error;
      const what =
        error instanceof QueryTimeoutError
          ? `COMMIT did not end within ${Math.round(error.timeoutMs ?? 0)} ms; its connection was closed, so its outcome is unknown`
          : `the connection was lost during COMMIT: ${describeError(error)}`;
      throw new CommitUnknownError(
        this.#pool,
        `${what}. Look in the database whether the transaction took effect before repeating it.`,
        { cause: error },
      );
    }
    if (result.command === "ROLLBACK") this.#state = "rolled back";
    this.#release();
    if (this.#state === "rolled back") throw this.#aborted("the server answered COMMIT with ROLLBACK");
  }

  async #commitNested({ timeoutMs }: QueryOptions): Promise<void> {
    try {
      await this.#session.run(ownStatement(releaseStatement(this.#point), { timeoutMs }));
    } catch (error) {
      this.#state = "rolled back";
      await this.#undo();
      // 25P02: the transaction had failed before.
      throw sqlStateOf(error) === "25P02" ? this.#aborted("the nested transaction was rolled back") : error;
    }
  }

  /** Rolls back to the point where this nested transaction began, unless its connection is lost. */
  async #undo(): Promise<void> {
    try {
      await this.#session.run(lastStatement(rollbackStatement(this.#point)));
    } catch (error) {
      if (this.#outermost.#stateNow() === "left") throw error;
      if (this.#parent !== undefined) this.#parent.#failure ??= error;
    }
  }

  async #run<T extends object>(call: SessionCall): Promise<T> {
    try {
      const result = await this.#session.run<T>(call);
      // A success shows that what had failed before was undone since.
      this.#failure = undefined;
      return result;
    } catch (error) {
      this.#failure ??= error;
      throw error;
    }
  }

  get #lost(): boolean {
    return activityOf(this.#lease.resource) === "dead";
  }

  get #outermost(): Tx {
    return this.#parent === undefined ? this : this.#parent.#outermost;
  }

  #newName(): string {
    return `vg_savepoint_${++this.#outermost.#names}`;
  }

  #release(error?: unknown): void {
    this.#lease.release(error !== undefined && endsConnection(error) ? error : undefined);
  }

  #check(what: string): void {
    if (this.ended) throw this.#ended(what);
    if (what === "rollback()") return;
    if (this.#child?.ended === false) {
      throw new TransactionStateError(
        this.#pool,
        `${what} called on a transaction while one that is nested in it is open. Use the handle that the nested one's function gets, and await its end before going on here.`,
      );
    }
    if (this.#lost) {
      throw new ConnectionLostError(
        this.#pool,
        `${what} called on a transaction whose connection is gone; the server rolls it back.`,
        { cause: this.#failure, sent: false },
      );
    }
  }

  #ended(what: string): TransactionStateError {
    if (this.#state === "open" && this.#parent !== undefined) return this.#parent.#ended(what);
    if (this.#state === "left") {
      return new TransactionStateError(
        this.#pool,
        `${what} called on a transaction that a COMMIT or ROLLBACK of its own statements had ended. Use commit(), rollback() and savepoint() instead.`,
      );
    }
    const ended = this.#state === "lost" ? "lost its connection" : `was ${this.#state}`;
    return new TransactionStateError(
      this.#pool,
      `${what} called on a transaction that ${ended}. Await every statement before commit() or rollback(), and end a transaction once.`,
    );
  }

  #aborted(what: string): TransactionAbortedError {
    return new TransactionAbortedError(
      this.#pool,
      `nothing was committed: ${what} because a statement had failed before (${nameFailure(this.#failure)}). Let errors out of the transaction, or use a savepoint around statements that may fail.`,
      { cause: this.#failure },
    );
  }

  /** Asked when it is a statement's turn: outside of a transaction it would take effect at once, and for good. */
  #checkStatus(): void {
    if (this.#state !== "left") {
      if (transactionStatusOf(this.#lease.resource) !== "I") return;
      this.#state = "left";
      this.#lease.release();
    }
    throw this.#ended("a statement was");
  }

  /** The compiler does not see that an await may change the state. */
  #stateNow(): TxState {
    return this.#state;
  }

  #endSavepoint(savepoint: Savepoint, what: string): void {
    this.#check(what);
    const index = this.#savepoints.indexOf(savepoint);
    if (index === -1) {
      throw new TransactionStateError(
        this.#pool,
        `${what} called, but it has ended. End it once; ending an earlier one ends it as well.`,
      );
    }
    this.#savepoints.splice(index);
  }
}

function nestedIn(parent: Tx, pool: string, lease: Lease<pg.Client>, signal: AbortSignal | undefined): Tx {
  return new Tx(pool, lease, Infinity, signal, parent);
}

/** One that undoes: when it does not end in time the connection is closed, which undoes as well. */
function lastStatement(text: string): SessionCall {
  return { ...ownStatement(text, { timeoutMs: ROLLBACK_TIMEOUT_MS }), atLimit: "close" };
}

function anyOf(a: AbortSignal | undefined, b: AbortSignal | undefined): AbortSignal | undefined {
  return a === undefined || b === undefined ? (a ?? b) : AbortSignal.any([a, b]);
}
