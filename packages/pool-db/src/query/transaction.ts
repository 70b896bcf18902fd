import type pg from "pg";
import {
  CommitUnknownError,
  ConnectionLostError,
  TransactionAbortedError,
  TransactionStateError,
  describeError,
} from "../errors.ts";
import type { Lease } from "../pool/slot.ts";
import { activityOf, transactionStatusOf } from "../protocol/pg-client.ts";
import { readBatch, type BatchItem } from "./batch.ts";
import { checkCallOptions } from "./call-options.ts";
import type { QueryOptions } from "./limits.ts";
import { ownStatement, readQueryCall, type QueryCall, type QueryInput } from "./query-call.ts";
import { affectedRows, firstRow } from "./results.ts";
import { Savepoint } from "./savepoint.ts";
import { Session } from "./session.ts";
import { endsConnection } from "./sql-state.ts";

export type IsolationLevel = "read uncommitted" | "read committed" | "repeatable read" | "serializable";

export interface TransactionOptions {
  /** Default: the server's, usually "read committed". */
  isolation?: IsolationLevel | undefined;
  /** Default false. */
  readOnly?: boolean | undefined;
  /** Covers the wait for a connection and every statement; when it is aborted the transaction can only be rolled back. */
  signal?: AbortSignal | undefined;
  /**
   * Above 0. For `begin()`: the most that the wait for a connection and BEGIN take together; default `acquireTimeoutMs`
   * for the one and `queryTimeoutMs` for the other. For `transaction()`: the most that all of it takes, with its waits,
   * retries and COMMIT; default none.
   */
  timeoutMs?: number | undefined;
}

const COMMIT_OPTIONS = ["timeoutMs"] as const;

/** The time that a ROLLBACK gets before the connection is destroyed, which rolls back as well. */
const ROLLBACK_TIMEOUT_MS = 5_000;

export function beginStatement({ isolation, readOnly }: TransactionOptions): string {
  const level = isolation === undefined ? "" : ` ISOLATION LEVEL ${isolation.toUpperCase()}`;
  return `BEGIN${level}${readOnly === true ? " READ ONLY" : ""}`;
}

type TxState = "open" | "committed" | "rolled back" | "lost" | "left";

/**
 * A transaction on a connection of its own, from `pool.begin()`. It ends once, with `commit()` or `rollback()`; leaving
 * an `await using` block without a commit rolls back. From the call that ends it on, every method rejects with
 * `TransactionStateError`, so a statement that comes too late never runs outside of the transaction.
 */
export class Tx {
  readonly #pool: string;
  readonly #lease: Lease<pg.Client>;
  readonly #session: Session;
  readonly #signal: AbortSignal | undefined;
  /** "left": by a COMMIT or ROLLBACK that was sent as a statement. */
  #state: TxState = "open";
  /** The first statement that failed: the reason for a COMMIT that the server answers with ROLLBACK. */
  #failure: unknown;
  /** Those that are open, in the order in which they were made. */
  readonly #savepoints: Savepoint[] = [];
  #savepointCount = 0;

  /** @internal Use `pool.begin()`. The lease's connection has answered BEGIN. */
  constructor(pool: string, lease: Lease<pg.Client>, queryTimeoutMs: number, signal: AbortSignal | undefined) {
    this.#pool = pool;
    this.#lease = lease;
    this.#session = new Session(pool, lease.resource, queryTimeoutMs, () => this.#checkStatus());
    this.#signal = signal;
  }

  /** Whether it was committed or rolled back, by whatever means, or lost its connection in COMMIT. */
  get ended(): boolean {
    return this.#state !== "open";
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
  async batch(items: readonly BatchItem[], options?: QueryOptions): Promise<pg.QueryResult[]> {
    this.#check("batch()");
    const call = readBatch(this.#pool, items, options);
    if (call.batch?.length === 0) return [];
    return this.#run({ ...call, signal: anyOf(call.signal, this.#signal) });
  }

  /** A point to roll back to without giving up the transaction. Ending it ends those that were made after it. */
  async savepoint(): Promise<Savepoint> {
    this.#check("savepoint()");
    const name = `vg_savepoint_${++this.#savepointCount}`;
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
   * Commits, after the statements that were called before it. `timeoutMs` bounds it; default `queryTimeoutMs`.
   * @throws {TransactionAbortedError} a statement had failed, so the server rolled back instead
   * @throws {CommitUnknownError} the connection was lost meanwhile: the transaction may be committed or not
   */
  async commit(options: { timeoutMs?: number | undefined } = {}): Promise<void> {
    checkCallOptions(this.#pool, "commit()", options, COMMIT_OPTIONS);
    this.#check("commit()");
    if (this.#signal?.aborted) {
      await this.rollback();
      throw this.#signal.reason;
    }
    this.#state = "committed";
    let result: pg.QueryResult;
    try {
      // Without the signal: a COMMIT that is cut off leaves nobody knowing its outcome.
      result = await this.#session.run(ownStatement("COMMIT", { timeoutMs: options.timeoutMs }));
    } catch (error) {
      if (this.#stateNow() === "left") throw error;
      // A server that answers with an error (a deferred constraint, a serialization failure) has rolled back.
      const answered = !this.#lost && !endsConnection(error);
      this.#state = answered ? "rolled back" : "lost";
      this.#release(error);
      if (answered) throw error;
      throw new CommitUnknownError(
        this.#pool,
        `the connection was lost during COMMIT: ${describeError(error)}. Look in the database whether the transaction took effect before repeating it.`,
        { cause: error },
      );
    }
    if (result.command === "ROLLBACK") this.#state = "rolled back";
    this.#release();
    if (this.#state === "rolled back") {
      throw new TransactionAbortedError(
        this.#pool,
        `nothing was committed: the server answered COMMIT with ROLLBACK because a statement had failed before: ${describeError(this.#failure)}. Let errors out of the transaction, or use a savepoint around statements that may fail.`,
        { cause: this.#failure },
      );
    }
  }

  /**
   * Rolls back, after the statements that were called before it. Does not fail where the connection has been lost, or
   * does not answer in time: it is destroyed, and the server rolls back by itself.
   */
  async rollback(): Promise<void> {
    this.#check("rollback()");
    this.#state = "rolled back";
    try {
      await this.#session.run(ownStatement("ROLLBACK", { timeoutMs: ROLLBACK_TIMEOUT_MS }));
    } catch (error) {
      if (this.#stateNow() === "left") throw error;
      this.#release(error);
      return;
    }
    this.#release();
  }

  /** Rolls back, unless the transaction has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state !== "open") return;
    await this.rollback().catch((error: unknown) => {
      // A COMMIT or ROLLBACK of its own has ended it: there is nothing to roll back.
      if (!(error instanceof TransactionStateError)) throw error;
    });
  }

  async #run<T extends object>(call: QueryCall): Promise<T> {
    try {
      return await this.#session.run<T>(call);
    } catch (error) {
      this.#failure ??= error;
      throw error;
    }
  }

  get #lost(): boolean {
    return activityOf(this.#lease.resource) === "dead";
  }

  #release(error?: unknown): void {
    this.#lease.release(error !== undefined && endsConnection(error) ? error : undefined);
  }

  #check(what: string): void {
    if (this.#state === "open") {
      if (!this.#lost || what === "rollback()") return;
      throw new ConnectionLostError(
        this.#pool,
        `${what} called on a transaction whose connection is gone; the server rolls it back. ${describeError(this.#failure ?? "")}`,
        { cause: this.#failure },
      );
    }
    throw this.#ended(what);
  }

  #ended(what: string): TransactionStateError {
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

function anyOf(a: AbortSignal | undefined, b: AbortSignal | undefined): AbortSignal | undefined {
  return a === undefined || b === undefined ? (a ?? b) : AbortSignal.any([a, b]);
}
