/**
 * A PostgreSQL pool that stands in for pg.Pool.
 *
 * It extends pg.Pool so that whatever asks `instanceof` is content, and overrides everything: of the base class only
 * EventEmitter remains. The layers below do the work: pool/ decides who gets which connection, query/ what happens on
 * one, protocol/ how pg's client is driven. This class is where they meet, and the forms in which they are called.
 */
import { inspect } from "node:util";
import { describeKind, describeValue } from "@vg/internal";
import pg from "pg";
import { dbPoolStats, type DbPoolStats } from "./db-pool-stats.ts";
import { addressText } from "./dsn.ts";
import { closeReport, type CloseReport } from "./close-report.ts";
import { PoolConfigError } from "./errors.ts";
import { askHealth, type DbHealth, type HealthOptions } from "./health.ts";
import { changeLimits, type DbPoolChanges } from "./limit-options.ts";
import { compatibleLimits, compatibleOptions, defineCounts, prepare, showClients } from "./pg-compat.ts";
import { resolveOptions, type DbPoolOptions, type ResolvedOptions } from "./options.ts";
import { PoolLog } from "./pool-log.ts";
import { poolReports } from "./pool-reports.ts";
import { nodeTimers } from "./pool/alarm.ts";
import { tell } from "./pool/outbox.ts";
import type { DbPoolHistograms } from "./pool/pool-stats.ts";
import type { CloseOutcome } from "./pool/resource.ts";
import { poolClosed } from "./pool/refusals.ts";
import { ResourcePool } from "./pool/resource-pool.ts";
import type { Lease } from "./pool/slot.ts";
import { processIdOf } from "./protocol/pg-client.ts";
import { LIMITS, checkCallOptions } from "./query/call-options.ts";
import { readBatch, type BatchItem, type BatchResults } from "./query/batch.ts";
import { CancelCounts } from "./query/cancellation.ts";
import { ClientFactory } from "./query/client-factory.ts";
import { DbConnection } from "./query/connection.ts";
import { Dispatcher } from "./query/dispatcher.ts";
import { Deadline } from "./query/deadline.ts";
import { leadToCaller } from "./query/lead-to-caller.ts";
import type { QueryOptions } from "./query/limits.ts";
import { answer, callbackOf, checkOut, checkOutLater, inClass, isSubmittable, submit } from "./query/pg-forms.ts";
import { readQueryCall, type QueryConfig, type QueryInput } from "./query/query-call.ts";
import { affectedRows, firstRow } from "./query/results.ts";
import { retryRollbacks } from "./query/retry.ts";
import { Statements } from "./query/statements.ts";
import type { Tx } from "./query/transaction.ts";
import { checkTransactionOptions, type TransactionOptions } from "./query/transaction-options.ts";

const CLOSE_DEADLINE_MS = 10_000;
const VALIDATE_TIMEOUT_MS = 2_000;
const CLOSE_OPTIONS = ["deadlineMs"] as const;

type PgErrorCallback<T> = (error: Error, result: T) => void;

export class DbPool extends pg.Pool {
  readonly #options: ResolvedOptions;
  readonly #log: PoolLog;
  readonly #statements: Statements;
  readonly #pool: ResourcePool<pg.Client>;
  readonly #dispatcher: Dispatcher;
  readonly #cancels: CancelCounts = new CancelCounts();
  readonly #connection = (lease: Lease<pg.Client>): DbConnection =>
    new DbConnection(this.name, lease, this.#options.queryTimeoutMs);

  /**
   * Checks the options; connects to nothing until the first use. `Client` is pg.Pool's second way to give that option.
   * @throws {PoolConfigError}
   */
  constructor(options: DbPoolOptions = {}, Client?: DbPoolOptions["Client"]) {
    const resolved = resolveOptions(Client === undefined ? options : { Client, ...options });
    super();
    this.#options = resolved;
    const log = new PoolLog(resolved);
    this.#log = log;
    const { Promise: PromiseClass, log: tellLog = () => undefined } = resolved;
    Object.assign(this, { Client: resolved.Client, Promise: PromiseClass, log: tellLog });
    this.options = compatibleOptions(options, resolved);
    const { onConnect, verify } = resolved;
    const statements = new Statements({
      cacheSize: resolved.statementCacheSize,
      threshold: resolved.prepareThreshold,
      transactionPooler: resolved.transactionPooler,
      askEarly: resolved.maxShares > 1,
      onPooler: () => {
        log.info("a transaction pooler was found: statements are neither prepared nor pipelined by themselves", {});
      },
    });
    this.#statements = statements;
    const factory = new ClientFactory({
      statements,
      Client: resolved.Client,
      config: resolved.clientConfig,
      prepare: onConnect === undefined && verify === undefined ? undefined : (client) => prepare(client, resolved),
      allowExitOnIdle: resolved.allowExitOnIdle,
      cancellation: {
        timeoutMs: resolved.cancelTimeoutMs,
        counts: this.#cancels,
        stream: resolved.clientConfig.stream,
      },
      announce: (client) => tell(() => this.emit("connect", client)),
      onUnclean: (client, state) => {
        const text = state === "busy" ? "while a query ran on it" : "inside a transaction; it is rolled back";
        log.warn(`a connection came back ${text}`, { process_id: processIdOf(client) });
      },
    });
    const target = addressText(resolved.server);
    const settings = { ...resolved, target, timers: nodeTimers, validateTimeoutMs: VALIDATE_TIMEOUT_MS };
    this.#pool = new ResourcePool(settings, factory, poolReports(this, resolved, log));
    this.#dispatcher = new Dispatcher(resolved, this.#pool, statements);
    showClients(this, () => factory.clients);
    log.pipelineBeside(resolved.queryTimeoutMs);
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
   * The connection survives an error of the statement. When a limit is hit, the caller is rejected at once, the server is
   * asked to cancel the statement, and the connection is lent again when all is quiet, or closed after `cancelTimeoutMs`.
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
  override query<R extends any[] = any[]>(
    queryConfig: QueryConfig & { readonly rowMode: "array" },
    values?: readonly unknown[],
    options?: QueryOptions,
  ): Promise<pg.QueryArrayResult<R>>;
  // eslint-disable-next-line typescript/no-explicit-any
  override query<R extends pg.QueryResultRow = any>(
    queryTextOrConfig: QueryInput,
    values?: readonly unknown[],
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
    if (isSubmittable(input)) {
      submit(input, this.#pool.acquire({}));
      return input;
    }
    const values = typeof second === "function" ? undefined : second;
    const options = typeof third === "function" || third === null ? undefined : third;
    const result = this.#run(input as QueryInput, values as readonly unknown[], options as QueryOptions);
    return answer(result, callbackOf(second, third, input), this.#options.Promise);
  }

  /** The first row of `query()`, or `undefined` when there is none; of several statements, of the last with rows. */
  async queryRow<R extends pg.QueryResultRow = pg.QueryResultRow>(
    input: QueryInput,
    values?: readonly unknown[],
    options?: QueryOptions,
  ): Promise<R | undefined> {
    return firstRow(await this.#run<pg.QueryResult<R>>(input, values, options));
  }

  /** How many rows were affected, by all statements of the text; 0 where none is, as by CREATE TABLE. */
  async exec(input: QueryInput, values?: readonly unknown[], options?: QueryOptions): Promise<number> {
    return affectedRows(await this.#run<pg.QueryResult>(input, values, options));
  }

  /**
   * Runs several statements in one round trip, and resolves with a result for each. Outside of a transaction they are one:
   * all of them take effect, or none. The error of a statement has its `statementIndex`; those behind it were not run.
   */
  async batch<const T extends readonly BatchItem[]>(items: T, options?: QueryOptions): Promise<BatchResults<T>> {
    const call = readBatch(this.name, items, options);
    if (call.batch?.length !== 0) return this.#dispatcher.execute(call);
    this.#refuseClosed();
    return [] as BatchResults<T>;
  }

  // ---- Connections and transactions ----------------------------------------------------------------------------------

  /**
   * A connection of your own until its `release()`. `timeoutMs` and `signal` bound the wait for it.
   * @throws AcquireTimeoutError, ConnectError, QueueFullError, PoolClosedError, or the signal's reason
   */
  acquire(options: QueryOptions = {}): Promise<DbConnection> {
    try {
      checkCallOptions(this.name, "acquire()", options, LIMITS);
    } catch (error) {
      return Promise.reject(error);
    }
    const lease = options.signal?.aborted === true ? undefined : this.#pool.take();
    return lease === undefined ? this.#acquireLater(options) : Promise.resolve(this.#connection(lease));
  }

  /**
   * pg.Pool's `acquire()`: pg's own client, with a `release(error?)` that destroys the connection for anything truthy.
   * Where no connection can be opened it rejects with the reason as pg has it (`code` ECONNREFUSED, 28P01, …).
   */
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
    if (callback !== undefined && callback !== null && typeof callback !== "function") {
      throw new PoolConfigError(this.name, `connect() takes a callback or nothing, got ${describeValue(callback)}.`);
    }
    const lease = this.#pool.take();
    // Not the pool's `as`: it would set `client.release` within the release before, whose second call would be this one's.
    const connected = lease === undefined ? checkOutLater(this.#pool.acquire()) : Promise.resolve(checkOut(lease));
    if (callback === undefined || callback === null) return inClass(this.#options.Promise, connected);
    connected.then(
      // `done` is this checkout's own: at a late second call, `client.release` may be the next borrower's.
      (client) => process.nextTick(callback, undefined, client, client.release),
      (error: Error) => process.nextTick(callback, error, undefined, () => undefined),
    );
  }

  /**
   * Begins a transaction on a connection of its own. It must be ended with `commit()` or `rollback()`, or be declared
   * with `await using`, which rolls back what was not committed.
   */
  async begin(options: TransactionOptions = {}): Promise<Tx> {
    checkTransactionOptions(this.name, "begin()", options);
    return this.#dispatcher.begin(options, options.signal);
  }

  /**
   * Runs `work` in a transaction, commits, and resolves with what `work` did; an error rolls back and is thrown.
   *
   * When `timeoutMs` is over or the signal is aborted, the call rejects at once; what runs is cancelled and the transaction
   * rolled back, after which its connection is free; what `work` still sends is refused.
   *
   * With `retries` (default 0), the whole of `work` runs again when the server rolled it back for reasons of
   * concurrency: SQLSTATE class 40, which is what "repeatable read" and "serializable" ask their users to do. So `work`
   * must not do anything outside of the database that may not happen twice.
   */
  async transaction<T>(
    work: (tx: Tx) => Promise<T>,
    options: TransactionOptions & { retries?: number | undefined } = {},
  ): Promise<T> {
    checkTransactionOptions(this.name, "transaction()", options);
    if (typeof work !== "function") {
      throw new PoolConfigError(this.name, `transaction() takes an async function first, got ${describeKind(work)}.`);
    }
    const { retries = 0, signal, timeoutMs } = options;
    const deadline = new Deadline(this.name, signal, timeoutMs);
    const attempt = async (): Promise<T> => {
      const tx = await this.#dispatcher.begin({ ...options, timeoutMs: deadline.remainingMs }, deadline.signal);
      try {
        const result = await deadline.over(work(tx));
        if (!tx.ended) await tx.commit({ timeoutMs: deadline.remainingMs });
        return result;
      } finally {
        const ended = tx[Symbol.asyncDispose]();
        // Who has run out of time does not wait for the server; the rollback has its own deadline.
        if (deadline.signal?.aborted !== true) await ended;
      }
    };
    try {
      return await retryRollbacks(attempt, { retries, signal: deadline.signal, random: this.#options.random });
    } finally {
      deadline.clear();
    }
  }

  // ---- State ---------------------------------------------------------------------------------------------------------

  /** Asks the server for an answer, in one round trip, through the pool as a query would. Never rejects. */
  async health(options: HealthOptions = {}): Promise<DbHealth> {
    const { name, clock } = this.#options;
    const ask = (text: string, timeoutMs: number) => this.queryRow(text, undefined, { timeoutMs });
    return askHealth({ name, clock, firstRow: ask }, options);
  }

  /** A frozen snapshot; see `DbPoolStats` for what each figure counts. */
  getStats(): DbPoolStats {
    return dbPoolStats(this.#pool.getStats(), this.#statements.counts, this.#cancels);
  }

  /** How long waits, uses and dials took, as cumulative counts by upper bound; a frozen snapshot. */
  histograms(): DbPoolHistograms {
    return this.#pool.histograms();
  }

  // ---- While it runs -------------------------------------------------------------------------------------------------

  /**
   * Changes limits while the pool runs; what is not given stays. It takes effect at once: waiters are served where a
   * maximum has risen; where it has fallen, free connections beyond it are closed at once and lent ones as they return.
   * Timeouts hold for what begins from here on, ages and idle times also for what is open.
   * @throws {PoolConfigError} as the constructor does, the limits in force included; then nothing has changed
   * @throws {PoolClosedError}
   */
  configure(changes: DbPoolChanges): void {
    const limits = changeLimits(this.name, changes, this.#options);
    this.#refuseClosed();
    if (limits.queryTimeoutMs !== this.#options.queryTimeoutMs) this.#log.pipelineBeside(limits.queryTimeoutMs);
    Object.assign(this.#options, limits);
    Object.assign(this.options, compatibleLimits(limits));
    this.#pool.configure(limits);
  }

  /**
   * Opens connections until `count` are open, lent ones included, a few (`maxConnecting`) at a time, and resolves with
   * how many are. `count`: by default `minIdleConns`, or `maxIdleConns` if that is 0. Those beyond `maxIdleConns` are
   * closed again when they are not used.
   * @throws ConnectError, AcquireTimeoutError after `timeoutMs` (default `acquireTimeoutMs`), PoolClosedError, or the
   *   signal's reason
   */
  async warm(count?: number, options: Pick<QueryOptions, "signal" | "timeoutMs"> = {}): Promise<number> {
    checkCallOptions(this.name, "warm()", options, LIMITS);
    const { maxOpen, maxIdle, minIdle } = this.#options;
    const target = count ?? (minIdle > 0 ? minIdle : maxIdle);
    if (Number.isInteger(target) && target >= 0 && target <= maxOpen) return this.#pool.warm(target, options);
    throw new PoolConfigError(
      this.name,
      `warm() takes a whole number from 0 to maxOpenConns (${maxOpen}), got ${describeValue(count)}. Leave it out for minIdleConns (or maxIdleConns, where that is 0), or raise maxOpenConns.`,
    );
  }

  /**
   * Closes every connection that is open now: free ones at once, lent ones when they are released. New ones are opened
   * as they are wanted. For when the server has changed behind a name: a failover, new rights, a new `search_path`.
   * @throws {PoolClosedError}
   */
  reset(): void {
    this.#refuseClosed();
    this.#pool.reset();
  }

  // ---- The end -------------------------------------------------------------------------------------------------------

  /**
   * Closes the pool. New calls are refused at once; calls that wait already are served, and what runs may end, until
   * `deadlineMs` (default 10 s, `Infinity` for no limit) has passed: then waiters are rejected and connections that are
   * still held are destroyed. Resolves when every socket is closed. A further call awaits the same end.
   */
  async close(options: { deadlineMs?: number | undefined } = {}): Promise<CloseReport> {
    checkCallOptions(this.name, "close()", options, CLOSE_OPTIONS);
    return this.#closed(this.#pool.close(options.deadlineMs ?? CLOSE_DEADLINE_MS));
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
    return answer(ended, callback, this.#options.Promise);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ---- Private -------------------------------------------------------------------------------------------------------

  #refuseClosed(): void {
    if (this.#pool.state !== "open") throw poolClosed(this.name);
  }

  async #acquireLater(options: QueryOptions): Promise<DbConnection> {
    try {
      return await this.#pool.acquire(options, this.#connection);
    } catch (error) {
      leadToCaller(error);
      throw error;
    }
  }

  async #run<T extends object>(
    input: QueryInput,
    values: readonly unknown[] | undefined,
    options: QueryOptions | undefined,
  ): Promise<T> {
    return this.#dispatcher.execute(readQueryCall(this.name, input, values, options));
  }

  async #closed(closing: Promise<CloseOutcome<pg.Client>>): Promise<CloseReport> {
    Object.assign(this, { ending: true });
    const report = closeReport(await closing);
    if (this.ended) return report;
    Object.assign(this, { ended: true });
    if (report.drained) this.#log.debug("pool closed", report);
    else this.#log.warn("pool closed before everything had come back", report);
    return report;
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
    defineCounts(this.prototype, (pool: DbPool) => pool.#pool);
  }
}
