import type { ResourcePoolStats } from "./pool/pool-stats.ts";
import type { CancelCounts } from "./query/cancellation.ts";
import type { StatementCounts } from "./query/prepared-statements.ts";

/** A snapshot of a pool: its connections, the statements that they keep prepared, and what became of cancelled queries. */
export interface DbPoolStats extends ResourcePoolStats {
  /** Runs of a statement that its connection had prepared by itself. */
  readonly statement_hit_count: number;
  /** Statements that were prepared. */
  readonly statement_miss_count: number;
  /** Prepared statements that had to leave for others (`statementCacheSize`). */
  readonly statement_evict_count: number;
  /** Requests to cancel a query, repetitions included. */
  readonly cancel_request_count: number;
  /** Connections that stayed after a query on them was given up. */
  readonly cancel_recovered_count: number;
  /** Those that were closed instead. */
  readonly cancel_closed_count: number;
}

export function dbPoolStats(pool: ResourcePoolStats, statements: StatementCounts, cancels: CancelCounts): DbPoolStats {
  return Object.freeze({
    ...pool,
    statement_hit_count: statements.hits,
    statement_miss_count: statements.misses,
    statement_evict_count: statements.evictions,
    cancel_request_count: cancels.sent,
    cancel_recovered_count: cancels.recovered,
    cancel_closed_count: cancels.destroyed,
  });
}
