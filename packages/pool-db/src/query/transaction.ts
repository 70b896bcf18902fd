import type pg from "pg";
import {
  CommitUnknownError,
  ConnectionLostError,
  PoolConfigError,
  TransactionAbortedError,
  TransactionStateError,
  describeError,
} from "../errors.ts";
import type { Lease } from "../pool/slot.ts";
import { activityOf } from "../protocol/pg-client.ts";
import type { QueryOptions } from "./limits.ts";
import type { QueryInput } from "./run-query.ts";
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
}

const ISOLATION_LEVELS: readonly string[] = ["read uncommitted", "read committed", "repeatable read", "serializable"];

/** The time that a ROLLBACK gets before the connection is destroyed, which rolls back as well. */
const ROLLBACK_TIMEOUT_MS = 5_000;

/** @throws {PoolConfigError} for an isolation level that does not exist */
export function beginStatement(pool: string, { isolation, readOnly }: TransactionOptions): string {
  if (isolation !== undefined && !ISOLATION_LEVELS.includes(isolation)) {
    throw new PoolConfigError(pool, `isolation must be one of ${ISOLATION_LEVELS.join(", ")}, got ${isolation}.`);
  }
  const level = isolation === undefined ? "" : ` ISOLATION LEVEL ${isolation.toUpperCase()}`;
  return `BEGIN${level}${readOnly === true ? " READ ONLY" : ""}`;
}

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
  #state: "open" | "committed" | "rolled back" | "lost" = "open";
  /** The first statement that failed: the reason for a COMMIT that the server answers with ROLLBACK. */
  #failure: unknown;
  #savepoints = 0;

  /** @internal Use `pool.begin()`. The lease's connection has answered BEGIN. */
  constructor(pool: string, lease: Lease<pg.Client>, queryTimeoutMs: number, signal: AbortSignal | undefined) {
    this.#pool = pool;
    this.#lease = lease;
    this.#session = new Session(pool, lease.resource, queryTimeoutMs);
    this.#signal = signal;
  }

  /** Whether it was committed or rolled back, or lost its connection in COMMIT. */
  get ended(): boolean {
    return this.#state !== "open";
  }

  /** As `pool.query`, in this transaction. Calls that overlap run in the order of the calls. */
  async query<R extends pg.QueryResultRow = pg.QueryResultRow>(
    input: QueryInput,
    values?: readonly unknown[],
    options: QueryOptions = {},
  ): Promise<pg.QueryResult<R>> {
    this.#check("query()");
    return this.#run(input, values, { timeoutMs: options.timeoutMs, signal: anyOf(options.signal, this.#signal) });
  }

  /** The first row, or `undefined` when there is none. */
  async queryRow<R extends pg.QueryResultRow = pg.QueryResultRow>(
    input: QueryInput,
    values?: readonly unknown[],
    options: QueryOptions = {},
  ): Promise<R | undefined> {
    return (await this.query<R>(input, values, options)).rows[0];
  }

  /** How many rows the statement affected; 0 for one that affects none. */
  async exec(input: QueryInput, values?: readonly unknown[], options: QueryOptions = {}): Promise<number> {
    return (await this.query(input, values, options)).rowCount ?? 0;
  }

  /** A point to roll back to without giving up the transaction. */
  async savepoint(): Promise<Savepoint> {
    this.#check("savepoint()");
    const name = `vg_savepoint_${++this.#savepoints}`;
    await this.#run(`SAVEPOINT ${name}`, undefined, { signal: this.#signal });
    return new Savepoint(this.#pool, name, {
      isOpen: () => this.#state === "open",
      run: (text) => {
        this.#check("a savepoint");
        return this.#run(text, undefined, {});
      },
    });
  }

  /**
   * Commits, after the statements that were called before it.
   * @throws {TransactionAbortedError} a statement had failed, so the server rolled back instead
   * @throws {CommitUnknownError} the connection was lost meanwhile: the transaction may be committed or not
   */
  async commit(): Promise<void> {
    this.#check("commit()");
    if (this.#signal?.aborted) {
      await this.rollback();
      throw this.#signal.reason;
    }
    this.#state = "committed";
    let result: pg.QueryResult;
    try {
      // Without the signal: a COMMIT that is cut off leaves nobody knowing its outcome.
      result = await this.#session.run("COMMIT", undefined, {});
    } catch (error) {
      // A server that answers with an error (a deferred constraint, a serialization failure) has rolled back.
      const answered = activityOf(this.#lease.resource) !== "dead" && !endsConnection(error);
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
      await this.#session.run("ROLLBACK", undefined, { timeoutMs: ROLLBACK_TIMEOUT_MS });
    } catch (error) {
      this.#release(error);
      return;
    }
    this.#release();
  }

  /** Rolls back, unless the transaction has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === "open") await this.rollback();
  }

  async #run<T extends object>(
    input: QueryInput,
    values: readonly unknown[] | undefined,
    options: QueryOptions,
  ): Promise<T> {
    try {
      return await this.#session.run<T>(input, values, options);
    } catch (error) {
      this.#failure ??= error;
      throw error;
    }
  }

  #release(error?: unknown): void {
    this.#lease.release(error !== undefined && endsConnection(error) ? error : undefined);
  }

  #check(what: string): void {
    if (this.#state === "open") {
      if (activityOf(this.#lease.resource) !== "dead" || what === "rollback()") return;
      throw new ConnectionLostError(
        this.#pool,
        `${what} called on a transaction whose connection is gone; the server rolls it back. ${describeError(this.#failure ?? "")}`,
        { cause: this.#failure },
      );
    }
    const ended = this.#state === "lost" ? "lost its connection" : `was ${this.#state}`;
    throw new TransactionStateError(
      this.#pool,
      `${what} called on a transaction that ${ended}. Await every statement before commit() or rollback(), and end a transaction once.`,
    );
  }
}

/** A point within a transaction; it ends once, with `release()` or `rollback()`. Leaving `await using` without either rolls back to it. */
export class Savepoint {
  readonly name: string;
  readonly #pool: string;
  readonly #transaction: { isOpen(): boolean; run(text: string): Promise<unknown> };
  #ended = false;

  /** @internal Use `tx.savepoint()`. */
  constructor(pool: string, name: string, transaction: { isOpen(): boolean; run(text: string): Promise<unknown> }) {
    this.#pool = pool;
    this.name = name;
    this.#transaction = transaction;
  }

  /** Keeps what happened since; it becomes part of the transaction. */
  async release(): Promise<void> {
    this.#end("release()");
    await this.#transaction.run(`RELEASE SAVEPOINT ${this.name}`);
  }

  /** Undoes what happened since, failed statements included; the transaction goes on. */
  async rollback(): Promise<void> {
    this.#end("rollback()");
    await this.#transaction.run(`ROLLBACK TO SAVEPOINT ${this.name}; RELEASE SAVEPOINT ${this.name}`);
  }

  /** Rolls back to it, unless it or the transaction has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#ended && this.#transaction.isOpen()) await this.rollback();
  }

  #end(what: string): void {
    if (this.#ended) {
      throw new TransactionStateError(this.#pool, `${what} called on a savepoint that has ended. End it once.`);
    }
    this.#ended = true;
  }
}

function anyOf(a: AbortSignal | undefined, b: AbortSignal | undefined): AbortSignal | undefined {
  return a === undefined || b === undefined ? (a ?? b) : AbortSignal.any([a, b]);
}
