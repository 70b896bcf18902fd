/**
 * A PostgreSQL pool that stands in for pg.Pool.
 *
 * It extends pg.Pool so that whatever asks `instanceof` is content, and overrides everything: of the base class only
 * EventEmitter remains. The layers below do the work: pool/ decides who gets which connection, query/ what happens on
 * one, protocol/ how pg's client is driven. This class is where they meet, and the forms in which they are called.
 */
import { inspect } from "node:util";
import pg from "pg";
import { PoolConfigError, describeError } from "./errors.ts";
import { compatibleOptions, prepare } from "./pg-compat.ts";
import { resolveOptions, type DbPoolOptions, type ResolvedOptions } from "./options.ts";
import { nodeTimers } from "./pool/alarm.ts";
import type { DbPoolStats } from "./pool/pool-stats.ts";
import type { CloseOutcome } from "./pool/resource.ts";
import { ResourcePool } from "./pool/resource-pool.ts";
import type { Lease } from "./pool/slot.ts";
import { keepProcessAlive, processIdOf } from "./protocol/pg-client.ts";
import { ClientFactory } from "./query/client-factory.ts";
import { DbConnection } from "./query/connection.ts";
import { checkTimeout, type QueryOptions } from "./query/limits.ts";
import {
  answer,
  failSubmittable,
  isSubmittable,
  readQueryCall,
  type Callback,
  type QueryCall,
} from "./query/pg-forms.ts";
import { retryRollbacks } from "./query/retry.ts";
import { runQuery, type QueryInput } from "./query/run-query.ts";
import { endsConnection } from "./query/sql-state.ts";
import { Tx, beginStatement, type TransactionOptions } from "./query/transaction.ts";

/** What `close()` had to do, in the form of a document. */
export interface CloseReport {
  /** Whether everything came back by itself: nothing was killed, nobody refused. */
  readonly drained: boolean;
  readonly duration_ms: number;
  /** Connections that were still held at the deadline and were destroyed. */
  readonly killed_connections: number;
  readonly killed: readonly { readonly process_id: number | undefined; readonly held_ms: number }[];
  /** Acquires that were still waiting at the deadline. */
  readonly rejected_waiters: number;
}

/** One answer of `health()`. */
export interface DbHealth {
  readonly ok: boolean;
  /** How long the answer took, the wait for a connection included. */
  readonly latency_ms: number;
  /** What is wrong, when `ok` is false. */
  readonly error?: string;
}

const CLOSE_DEADLINE_MS = 10_000;
const HEALTH_TIMEOUT_MS = 5_000;
const VALIDATE_TIMEOUT_MS = 2_000;

type PgErrorCallback<T> = (error: Error, result: T) => void;

export class DbPool extends pg.Pool {
  readonly #options: ResolvedOptions;
  readonly #pool: ResourcePool<pg.Client>;

  /**
   * Checks the options; connects to nothing until the first use.
   * @throws {PoolConfigError}
   */
  constructor(options: DbPoolOptions = {}) {
    const resolved = resolveOptions(options);
    super();
    this.#options = resolved;
    Object.assign(this, { Client: resolved.Client, log: resolved.log ?? (() => undefined) });
    this.options = compatibleOptions(options, resolved);
    const { onConnect, verify } = resolved;
    const factory = new ClientFactory({
      Client: resolved.Client,
      config: resolved.clientConfig,
      prepare: onConnect === undefined && verify === undefined ? undefined : (client) => prepare(client, resolved),
      allowExitOnIdle: resolved.allowExitOnIdle,
      onOpenTransaction: (client) =>
        this.#warn("a connection came back inside a transaction; it is rolled back", {
          process_id: processIdOf(client),
        }),
    });
    const settings = { ...resolved, timers: nodeTimers, validateTimeoutMs: VALIDATE_TIMEOUT_MS };
    this.#pool = new ResourcePool(settings, factory, {
      created: (client) => this.emit("connect", client),
      acquired: (client) => {
        if (resolved.allowExitOnIdle) keepProcessAlive(client, true);
        this.emit("acquire", client);
      },
      released: (client, discard) => {
        if (resolved.allowExitOnIdle) keepProcessAlive(client, false);
        this.emit("release", discard, client);
      },
      removed: (client, reason) => {
        this.#debug("connection closed", { process_id: processIdOf(client), reason });
        this.emit("remove", client);
      },
      idleLost: (client, error) => {
        this.#warn("an idle connection was lost", { process_id: processIdOf(client), error: describeError(error) });
        // EventEmitter throws an "error" that nobody listens to; a connection that the server closed is no such case.
        if (this.listenerCount("error") > 0) this.emit("error", Object.assign(error, { client }), client);
      },
      createFailed: (error) => this.#warn("could not connect", { error: describeError(error) }),
    });
  }

  /** Stands in errors and log lines. */
  get name(): string {
    return this.#options.name;
  }

  // ---- Queries -------------------------------------------------------------------------------------------------------

  /**
   * Runs one statement on a connection of the pool. `values` fill in `$1`, `$2`, …; `options` bound the call. Resolves
   * with pg's result (`rows`, `rowCount`, `fields`, `command`). pg.Pool's other forms work as there: a config object, a
   * callback as the last argument, a cursor or other submittable.
   *
   * The connection survives an error of the statement. When a limit is hit, the caller is rejected at once and the
   * connection is destroyed, with a request to the server to cancel what runs on it.
   *
   * @throws pg.DatabaseError, AcquireTimeoutError, QueryTimeoutError, ConnectError, ConnectionLostError, QueueFullError,
   *   PoolClosedError, or the signal's reason
   */
  override query<T extends pg.Submittable>(queryStream: T): T;
  // eslint-disable-next-line typescript/no-explicit-any -- the defaults of @types/pg, which an override has to match
  override query<R extends any[] = any[], I = any[]>(
    queryConfig: pg.QueryArrayConfig<I>,
    values?: pg.QueryConfigValues<I>,
    options?: QueryOptions,
  ): Promise<pg.QueryArrayResult<R>>;
  // eslint-disable-next-line typescript/no-explicit-any
  override query<R extends pg.QueryResultRow = any, I = any[]>(
    queryTextOrConfig: string | pg.QueryConfig<I>,
    values?: pg.QueryConfigValues<I>,
    options?: QueryOptions,
  ): Promise<pg.QueryResult<R>>;
  // eslint-disable-next-line typescript/no-explicit-any
  override query<R extends any[] = any[], I = any[]>(
    queryConfig: pg.QueryArrayConfig<I>,
    callback: PgErrorCallback<pg.QueryArrayResult<R>>,
  ): void;
  // eslint-disable-next-line typescript/no-explicit-any
  override query<R extends pg.QueryResultRow = any, I = any[]>(
    queryTextOrConfig: string | pg.QueryConfig<I>,
    callback: PgErrorCallback<pg.QueryResult<R>>,
  ): void;
  // eslint-disable-next-line typescript/no-explicit-any
  override query<R extends pg.QueryResultRow = any, I = any[]>(
    queryText: string,
    values: pg.QueryConfigValues<I>,
    callback: PgErrorCallback<pg.QueryResult<R>>,
  ): void;
  override query(input: unknown, second?: unknown, third?: unknown): unknown {
    if (isSubmittable(input)) return this.#submit(input);
    let call: QueryCall;
    try {
      call = readQueryCall(input, second, third);
    } catch (error) {
      const callback = [input, second, third].find((argument) => typeof argument === "function") as
        | Callback
        | undefined;
      return answer(Promise.reject(error as Error), callback);
    }
    return answer(this.#run(call.input, call.values, call.options), call.callback);
  }

  /** The first row of `query()`, or `undefined` when there is none. */
  async queryRow<R extends pg.QueryResultRow = pg.QueryResultRow>(
    input: QueryInput,
    values?: readonly unknown[],
    options: QueryOptions = {},
  ): Promise<R | undefined> {
    return (await this.#run<pg.QueryResult<R>>(input, values, options)).rows[0];
  }

  /** How many rows a statement affected; 0 for one that affects none, such as CREATE TABLE. */
  async exec(input: QueryInput, values?: readonly unknown[], options: QueryOptions = {}): Promise<number> {
    return (await this.#run<pg.QueryResult>(input, values, options)).rowCount ?? 0;
  }

  // ---- Connections and transactions ----------------------------------------------------------------------------------

  /**
   * A connection of your own until its `release()`. `timeoutMs` and `signal` bound the wait for it.
   * @throws AcquireTimeoutError, ConnectError, QueueFullError, PoolClosedError, or the signal's reason
   */
  async acquire(options: QueryOptions = {}): Promise<DbConnection> {
    checkTimeout(this.name, options.timeoutMs);
    return new DbConnection(this.name, await this.#lease(options), this.#options.queryTimeoutMs);
  }

  /** pg.Pool's `acquire()`: pg's own client, with a `release(error?)` that destroys the connection for anything truthy. */
  override connect(): Promise<pg.PoolClient>;
  override connect(
    callback: (
      error: Error | undefined,
      client: pg.PoolClient | undefined,
      // eslint-disable-next-line typescript/no-explicit-any -- as @types/pg has it
      done: (release?: any) => void,
    ) => void,
  ): void;
  override connect(
    callback?: (error: Error | undefined, client: pg.PoolClient | undefined, done: (release?: unknown) => void) => void,
  ): Promise<pg.PoolClient> | void {
    const connected = this.#lease({}).then((lease) => {
      const release = (discard?: unknown): void => lease.release(discard);
      return { client: Object.assign(lease.resource, { release }) as pg.PoolClient, release };
    });
    if (callback === undefined) return connected.then(({ client }) => client);
    connected.then(
      // `done` is this checkout's own: at a late second call, `client.release` may be the next borrower's.
      ({ client, release }) => process.nextTick(callback, undefined, client, release),
      (error: Error) => process.nextTick(callback, error, undefined, () => undefined),
    );
  }

  /**
   * Begins a transaction on a connection of its own. It must be ended with `commit()` or `rollback()`, or be declared
   * with `await using`, which rolls back what was not committed.
   */
  async begin(options: TransactionOptions = {}): Promise<Tx> {
    const statement = beginStatement(this.name, options);
    const { signal } = options;
    const { queryTimeoutMs } = this.#options;
    const lease = await this.#lease({ signal });
    try {
      await runQuery(this.name, lease.resource, statement, undefined, { signal, timeoutMs: queryTimeoutMs });
    } catch (error) {
      lease.release(endsConnection(error) ? error : undefined);
      throw error;
    }
    return new Tx(this.name, lease, queryTimeoutMs, signal);
  }

  /**
   * Runs `work` in a transaction, commits, and resolves with what `work` did; an error rolls back and is thrown.
   *
   * With `retries` (default 0), the whole of `work` runs again when the server rolled it back for reasons of
   * concurrency: SQLSTATE class 40, which is what "repeatable read" and "serializable" ask their users to do. So `work`
   * must not do anything outside of the database that may not happen twice.
   */
  async transaction<T>(
    work: (tx: Tx) => Promise<T>,
    options: TransactionOptions & { retries?: number | undefined } = {},
  ): Promise<T> {
    const { retries = 0, signal } = options;
    if (!Number.isInteger(retries) || retries < 0) {
      throw new PoolConfigError(this.name, `retries must be a whole number of at least 0, got ${String(retries)}.`);
    }
    const attempt = async (): Promise<T> => {
      const tx = await this.begin(options);
      try {
        const result = await work(tx);
        if (!tx.ended) await tx.commit();
        return result;
      } finally {
        await tx[Symbol.asyncDispose]();
      }
    };
    return retryRollbacks(attempt, { retries, signal, random: this.#options.random });
  }

  // ---- State ---------------------------------------------------------------------------------------------------------

  /** Asks the server for an answer, through the pool as a query would. Never rejects. `timeoutMs`: default 5 s. */
  async health({ timeoutMs = HEALTH_TIMEOUT_MS }: { timeoutMs?: number } = {}): Promise<DbHealth> {
    const { clock } = this.#options;
    const startedAt = clock.now();
    try {
      await this.#run("SELECT 1", undefined, { timeoutMs });
      return Object.freeze({ ok: true, latency_ms: clock.now() - startedAt });
    } catch (error) {
      return Object.freeze({ ok: false, latency_ms: clock.now() - startedAt, error: describeError(error) });
    }
  }

  /** A frozen snapshot; see `DbPoolStats` for what each figure counts. */
  getStats(): DbPoolStats {
    return this.#pool.getStats();
  }

  // ---- The end -------------------------------------------------------------------------------------------------------

  /**
   * Closes the pool. New calls are refused at once; calls that wait already are served, and what runs may end, until
   * `deadlineMs` (default 10 s, `Infinity` for no limit) has passed: then waiters are rejected and connections that are
   * still held are destroyed. Resolves when every socket is closed. A further call awaits the same end.
   */
  async close({ deadlineMs = CLOSE_DEADLINE_MS }: { deadlineMs?: number } = {}): Promise<CloseReport> {
    if (typeof deadlineMs !== "number" || !(deadlineMs >= 0)) {
      throw new PoolConfigError(
        this.name,
        `deadlineMs must be a number of milliseconds of at least 0, got ${String(deadlineMs)}.`,
      );
    }
    return this.#closed(this.#pool.close(deadlineMs));
  }

  /** Closes now: waiters are rejected, running queries fail, sockets are cut. */
  async destroy(): Promise<CloseReport> {
    return this.#closed(this.#pool.destroy());
  }

  /** pg.Pool's name for `close()`. */
  override end(): Promise<void>;
  override end(callback: () => void): void;
  override end(callback?: () => void): Promise<void> | void {
    const ended = this.close().then(() => undefined);
    if (callback === undefined) return ended;
    ended.then(() => process.nextTick(callback), callback);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ---- Private -------------------------------------------------------------------------------------------------------

  async #lease(limits: QueryOptions): Promise<Lease<pg.Client>> {
    const lease = limits.signal?.aborted ? undefined : this.#pool.take();
    return lease ?? this.#pool.acquire(limits);
  }

  async #run<T extends object>(
    input: QueryInput,
    values: readonly unknown[] | undefined,
    { signal, timeoutMs }: QueryOptions,
  ): Promise<T> {
    checkTimeout(this.name, timeoutMs);
    if (signal?.aborted) return this.#pool.acquire({ signal }) as Promise<never>;
    const { clock, queryTimeoutMs, acquireTimeoutMs, discardOnQueryError } = this.#options;
    let remainingMs = timeoutMs ?? queryTimeoutMs;
    let lease = this.#pool.take();
    if (lease === undefined) {
      const since = clock.now();
      lease = await this.#pool.acquire({ signal, timeoutMs: Math.min(acquireTimeoutMs, timeoutMs ?? Infinity) });
      if (timeoutMs !== undefined) remainingMs = Math.max(1, timeoutMs - (clock.now() - since));
    }
    let discard: unknown;
    try {
      return await runQuery<T>(this.name, lease.resource, input, values, {
        signal,
        timeoutMs: remainingMs,
        allowedMs: timeoutMs,
      });
    } catch (error) {
      if (discardOnQueryError || endsConnection(error)) discard = error;
      // The stack ends in the parser of the socket's data; this one leads to the caller.
      if (error instanceof pg.DatabaseError) Error.captureStackTrace(error);
      throw error;
    } finally {
      lease.release(discard);
    }
  }

  /** Runs a cursor or the like on a connection that is released when the server is done with it. */
  #submit<T extends pg.Submittable>(submittable: T): T {
    this.#lease({}).then(
      (lease) => {
        const client = lease.resource;
        const release = (): void => {
          client.off("drain", release);
          client.off("end", release);
          lease.release();
        };
        client.once("drain", release);
        client.once("end", release);
        try {
          client.query(submittable);
        } catch (error) {
          release();
          failSubmittable(submittable, error);
        }
      },
      (error: unknown) => failSubmittable(submittable, error),
    );
    return submittable;
  }

  async #closed(closing: Promise<CloseOutcome<pg.Client>>): Promise<CloseReport> {
    Object.assign(this, { ending: true });
    const { durationMs, killed, rejectedWaiters } = await closing;
    const wasEnded = this.ended;
    Object.assign(this, { ended: true });
    const report: CloseReport = Object.freeze({
      drained: killed.length === 0 && rejectedWaiters === 0,
      duration_ms: durationMs,
      killed_connections: killed.length,
      killed: killed.map(({ resource, heldMs }) => ({ process_id: processIdOf(resource), held_ms: heldMs })),
      rejected_waiters: rejectedWaiters,
    });
    if (!wasEnded) {
      if (report.drained) this.#debug("pool closed", report);
      else this.#warn("pool closed before everything had come back", report);
    }
    return report;
  }

  #debug(message: string, fields: object): void {
    this.#options.log?.(message, fields);
    this.#options.logger?.debug({ pool: this.name, ...fields }, message);
  }

  #warn(message: string, fields: object): void {
    this.#options.log?.(message, fields);
    this.#options.logger?.warn({ pool: this.name, ...fields }, message);
  }

  static {
    // What a log shows of a pool: no option, since they hold the password.
    Object.defineProperty(this.prototype, inspect.custom, {
      value(this: DbPool): string {
        const { in_use, idle, connecting, pending } = this.getStats();
        const figures = `in_use ${in_use}, idle ${idle}, connecting ${connecting}, pending ${pending}`;
        return `DbPool(${this.name}: ${this.#pool.state}, ${figures})`;
      },
    });
    // @types/pg declares the counts as fields, which TypeScript does not let an accessor override.
    const count = (name: string, read: (pool: DbPool) => number): void => {
      Object.defineProperty(this.prototype, name, {
        configurable: true,
        get(this: DbPool) {
          return read(this);
        },
      });
    };
    count("totalCount", (pool) => pool.#pool.idle + pool.#pool.inUse + pool.#pool.connecting);
    count("idleCount", (pool) => pool.#pool.idle);
    count("waitingCount", (pool) => pool.#pool.waiting);
    count("expiredCount", (pool) => pool.#pool.expired);
  }
}
