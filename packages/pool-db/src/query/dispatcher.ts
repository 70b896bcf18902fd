import type pg from "pg";
import { channels } from "../diagnostics.ts";
import type { DbQueryMessage } from "../diagnostics-messages.ts";
import type { Clock } from "../pool/alarm.ts";
import type { ResourcePool } from "../pool/resource-pool.ts";
import { leadToCaller } from "./lead-to-caller.ts";
import { limitOf, type Limits } from "./limits.ts";
import { ownStatement, type QueryCall } from "./query-call.ts";
import { affectedRows } from "./results.ts";
import { runQuery } from "./run-query.ts";
import { endsConnection } from "./sql-state.ts";
import type { Statements } from "./statements.ts";
import { beginStatement, type TransactionOptions } from "./transaction-options.ts";
import { Tx } from "./transaction.ts";

/** Read at each call: some of them change while the pool runs. */
export interface DispatcherSettings {
  readonly name: string;
  readonly clock: Clock;
  readonly acquireTimeoutMs: number;
  readonly queryTimeoutMs: number;
  readonly maxShares: number;
  readonly discardOnQueryError: boolean;
}

/** Brings each call of the pool to a connection: of its own or a shared one, within its limits, and gives it back. */
export class Dispatcher {
  readonly #settings: DispatcherSettings;
  readonly #pool: ResourcePool<pg.Client>;
  readonly #statements: Statements;

  constructor(settings: DispatcherSettings, pool: ResourcePool<pg.Client>, statements: Statements) {
    this.#settings = settings;
    this.#pool = pool;
    this.#statements = statements;
  }

  /** Runs one statement, or one batch. */
  async execute<T extends object>(call: QueryCall): Promise<T> {
    const { signal, timeoutMs } = call;
    if (signal?.aborted) return this.#pool.acquire({ signal }) as Promise<never>;
    const { name, clock, queryTimeoutMs, acquireTimeoutMs, discardOnQueryError } = this.#settings;
    let remainingMs = timeoutMs ?? queryTimeoutMs;
    const known = call.pgOnly ? undefined : this.#statements.book.look(call.text);
    const shared = known?.shareable === true && remainingMs === Infinity && this.#mayShare(call);
    const report = channels.query.hasSubscribers ? this.#reporter(shared) : undefined;
    let lease = shared ? this.#pool.takeShared() : this.#pool.take();
    try {
      if (lease === undefined) {
        const since = clock.now();
        const wait = { signal, timeoutMs: waitOf(timeoutMs, acquireTimeoutMs) };
        lease = await (shared ? this.#pool.acquireShared(wait) : this.#pool.acquire(wait));
        if (timeoutMs !== undefined) remainingMs = Math.max(1, timeoutMs - (clock.now() - since));
      }
      const limits: Limits = { signal, timeoutMs: remainingMs, allowedMs: timeoutMs, limitedBy: limitOf(timeoutMs) };
      const result = await runQuery<T>(name, lease.resource, call, limits, { known, shared });
      lease.release();
      report?.(undefined, result);
      return result;
    } catch (error) {
      // Nobody else can have released it: the only release above does not throw.
      lease?.release(discardOnQueryError || endsConnection(error) ? error : undefined);
      leadToCaller(error);
      report?.(error);
      throw error;
    }
  }

  /** `during` holds from BEGIN on; the options' own signal and time are for the beginning. */
  async begin(options: TransactionOptions, during: AbortSignal | undefined): Promise<Tx> {
    const { signal, timeoutMs } = options;
    const { name, clock, queryTimeoutMs, acquireTimeoutMs } = this.#settings;
    const since = clock.now();
    const wait = { signal, timeoutMs: waitOf(timeoutMs, acquireTimeoutMs) };
    const lease = await this.#pool.acquire(wait).catch((error: unknown) => {
      leadToCaller(error);
      throw error;
    });
    const remainingMs = timeoutMs === undefined ? queryTimeoutMs : Math.max(1, timeoutMs - (clock.now() - since));
    try {
      const limits: Limits = { signal, timeoutMs: remainingMs, allowedMs: timeoutMs, limitedBy: limitOf(timeoutMs) };
      await runQuery(name, lease.resource, ownStatement(beginStatement(options)), limits);
    } catch (error) {
      lease.release(endsConnection(error) ? error : undefined);
      leadToCaller(error);
      throw error;
    }
    return new Tx(name, lease, queryTimeoutMs, during);
  }

  /** A query that may be given up has a connection of its own: to cancel it must not hit a neighbour. */
  #mayShare({ share, signal }: QueryCall): boolean {
    return this.#settings.maxShares > 1 && share && signal === undefined && this.#statements.pooler === false;
  }

  #reporter(pipelined: boolean): (error: unknown, result?: object) => void {
    const { name: pool, clock } = this.#settings;
    const since = clock.now();
    return (error, result) => {
      const rows = result === undefined ? 0 : affectedRows(result as pg.QueryResult | pg.QueryResult[]);
      const message: DbQueryMessage = { pool, durationMs: clock.now() - since, rows, error, pipelined };
      channels.query.publish(message);
    };
  }
}

/** The wait's own limit, where that is less than the pool's. */
function waitOf(timeoutMs: number | undefined, acquireTimeoutMs: number): number | undefined {
  return timeoutMs !== undefined && timeoutMs < acquireTimeoutMs ? timeoutMs : undefined;
}
