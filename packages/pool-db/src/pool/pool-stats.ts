import { createHistogram } from "@vg/internal";

/**
 * A snapshot of a pool. Gauges hold at this moment and add up: `open_connections = in_use + idle`, and
 * `acquire_count - release_count = in_use`. Counters count from the pool's creation and never fall. All are exact, but
 * for the percentiles, which come from histograms with an error of at most 3.2 %.
 */
export interface ResourcePoolStats {
  readonly max_open_connections: number;
  /** Established connections, lent or not. */
  readonly open_connections: number;
  /** Lent, or lent a moment ago and being cleaned (ROLLBACK) before it is free. */
  readonly in_use: number;
  /** Free, or being checked for somebody who waits. */
  readonly idle: number;
  /** Connections that are being opened; not in `open_connections`. Together they never exceed the maximum. */
  readonly connecting: number;
  /** Acquires that wait now. */
  readonly pending: number;
  /** The same as `in_use`. */
  readonly active_conns: number;
  /**
   * Successful acquires; every query, exec, begin, connect and health check is one, unless it joins others on a shared
   * connection: those are in `pipelined_count`.
   */
  readonly acquire_count: number;
  /** Connections that came back, or died while they were lent. */
  readonly release_count: number;
  /** Queries that were sent on a connection on which others were under way. */
  readonly pipelined_count: number;
  /**
   * Acquires that could not be served by what was free (queue, dial) and whose wait has ended, however. An acquire that
   * got a free connection after its check is none, unless that check was silent for 250 ms.
   */
  readonly wait_count: number;
  /** The total of those waits. */
  readonly wait_duration_ms: number;
  /** `wait_duration_ms / wait_count`; 0 when nobody waited. */
  readonly avg_wait_time_ms: number;
  readonly wait_p50_ms: number;
  readonly wait_p95_ms: number;
  readonly wait_p99_ms: number;
  /** How long connections were held in all, from acquire (the first of those who share) to release (of the last). */
  readonly use_duration_ms: number;
  readonly use_p50_ms: number;
  readonly use_p95_ms: number;
  readonly use_p99_ms: number;
  /** How long successful dials took in all. */
  readonly create_duration_ms: number;
  readonly create_p50_ms: number;
  readonly create_p95_ms: number;
  readonly create_p99_ms: number;
  /** Acquires that ran into their deadline; no other failure counts here. */
  readonly timeout_count: number;
  /** Leases that lasted for longer than `leakDetectionThresholdMs`; 0 while that is off. */
  readonly leak_count: number;
  /** Acquires that their AbortSignal ended. */
  readonly canceled_count: number;
  /** Acquires refused because `maxWaiting` were waiting. */
  readonly rejected_count: number;
  /** Checks of a connection that had been free for longer than `validateAfterIdleMs`; each is one round trip. */
  readonly validate_count: number;
  /** Connections opened. */
  readonly create_count: number;
  /** Dials that failed. */
  readonly create_error_count: number;
  /** Closed as surplus over `maxIdleConns`. */
  readonly max_idle_closed: number;
  /** Closed because `configure()` lowered `maxOpenConns`. */
  readonly max_open_closed: number;
  /** Closed because of `reset()`. */
  readonly reset_closed: number;
  /** Closed after `connMaxIdleTimeMs`. */
  readonly max_idle_time_closed: number;
  /** Closed after `connMaxLifetimeMs`. */
  readonly max_lifetime_closed: number;
  /** Closed after `maxUses`. */
  readonly max_uses_closed: number;
  /** Closed because they were dead, failed validation, had a fatal error, or were released as unusable. */
  readonly broken_closed: number;
  /** Closed because they came back busy, or in a transaction that could not be rolled back in time. */
  readonly dirty_closed: number;
}

/** Durations, as cumulative counts by upper bound: what Prometheus calls a histogram. */
export interface DbHistogram {
  readonly count: number;
  readonly sum_ms: number;
  /** For each bound, how many took at most so long. The bounds are sharp to 3.2 %; longer ones are only in `count`. */
  readonly buckets: readonly { readonly le_ms: number; readonly count: number }[];
}

export interface DbPoolHistograms {
  /** Waits of acquires; see `wait_count`. */
  readonly wait: DbHistogram;
  /** How long connections were held. */
  readonly use: DbHistogram;
  /** Successful dials. */
  readonly create: DbHistogram;
}

/** Why a connection left the pool. */
export type RemovalReason =
  | "max_idle"
  | "max_open"
  | "reset"
  | "max_idle_time"
  | "max_lifetime"
  | "max_uses"
  | "broken"
  | "dirty"
  | "pool_closed";

export interface PoolGauges {
  readonly max: number;
  readonly inUse: number;
  readonly idle: number;
  readonly connecting: number;
  readonly pending: number;
}

/** The counters of one pool. Only the pool writes them. */
export class PoolCounters {
  acquired = 0;
  released = 0;
  pipelined = 0;
  timedOut = 0;
  canceled = 0;
  leaks = 0;
  rejected = 0;
  validations = 0;
  createErrors = 0;
  readonly #wait = createHistogram();
  readonly #use = createHistogram();
  readonly #create = createHistogram();
  readonly #closed: Record<RemovalReason, number> = {
    max_idle: 0,
    max_open: 0,
    reset: 0,
    max_idle_time: 0,
    max_lifetime: 0,
    max_uses: 0,
    broken: 0,
    dirty: 0,
    pool_closed: 0,
  };

  waited(ms: number): void {
    this.#wait.record(ms);
  }

  used(ms: number): void {
    this.released++;
    this.#use.record(ms);
  }

  created(ms: number): void {
    this.#create.record(ms);
  }

  closed(reason: RemovalReason): void {
    this.#closed[reason]++;
  }

  histograms(): DbPoolHistograms {
    return Object.freeze({
      wait: this.#wait.snapshot(),
      use: this.#use.snapshot(),
      create: this.#create.snapshot(),
    });
  }

  snapshot({ max, inUse, idle, connecting, pending }: PoolGauges): ResourcePoolStats {
    const [wait, use, create, closed] = [this.#wait, this.#use, this.#create, this.#closed];
    return Object.freeze({
      max_open_connections: max,
      open_connections: inUse + idle,
      in_use: inUse,
      idle,
      connecting,
      pending,
      active_conns: inUse,
      acquire_count: this.acquired,
      release_count: this.released,
      pipelined_count: this.pipelined,
      wait_count: wait.count,
      wait_duration_ms: wait.sum,
      avg_wait_time_ms: wait.mean,
      wait_p50_ms: wait.percentile(0.5),
      wait_p95_ms: wait.percentile(0.95),
      wait_p99_ms: wait.percentile(0.99),
      use_duration_ms: use.sum,
      use_p50_ms: use.percentile(0.5),
      use_p95_ms: use.percentile(0.95),
      use_p99_ms: use.percentile(0.99),
      create_duration_ms: create.sum,
      create_p50_ms: create.percentile(0.5),
      create_p95_ms: create.percentile(0.95),
      create_p99_ms: create.percentile(0.99),
      timeout_count: this.timedOut,
      leak_count: this.leaks,
      canceled_count: this.canceled,
      rejected_count: this.rejected,
      validate_count: this.validations,
      create_count: create.count,
      create_error_count: this.createErrors,
      max_idle_closed: closed.max_idle,
      max_open_closed: closed.max_open,
      reset_closed: closed.reset,
      max_idle_time_closed: closed.max_idle_time,
      max_lifetime_closed: closed.max_lifetime,
      max_uses_closed: closed.max_uses,
      broken_closed: closed.broken,
      dirty_closed: closed.dirty,
    });
  }
}
