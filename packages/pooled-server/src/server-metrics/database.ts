import type { DbPool } from "@vg/pool-db";
import type { MetricFamily, Sample } from "../metrics/family.ts";
import { byLabel, counter, durations, gauge } from "./families.ts";

/** The pool, and what it was configured to keep. */
export interface DatabaseSource {
  pool: Pick<DbPool, "name" | "getStats" | "histograms">;
  maxIdle: number;
  minIdle: number;
}

export function databaseFamilies({ pool, maxIdle, minIdle }: DatabaseSource): MetricFamily[] {
  const stats = pool.getStats();
  const { wait, use, create } = pool.histograms();
  const labels = { db_client_connection_pool_name: pool.name };
  const one = (value: number): Sample => ({ labels, value });
  const prefix = "db_client_connection";
  return [
    gauge(
      "db_client_connections",
      "Open connections by state.",
      ...byLabel("db_client_connection_state", { idle: stats.idle, used: stats.in_use }, labels),
    ),
    gauge(`${prefix}_max`, "Connections open at most.", one(stats.max_open_connections)),
    gauge(`${prefix}_idle_max`, "Connections kept idle at most, as configured.", one(maxIdle)),
    gauge(`${prefix}_idle_min`, "Connections kept idle at least, as configured.", one(minIdle)),
    gauge(`${prefix}_pending_requests`, "Callers waiting for a connection.", one(stats.pending)),
    gauge(`${prefix}_opening`, "Connections being opened.", one(stats.connecting)),
    counter(`${prefix}_acquired_total`, "Connections handed out.", one(stats.acquire_count)),
    counter(`${prefix}_timeouts_total`, "Acquires that ran out of time.", one(stats.timeout_count)),
    counter(`${prefix}_rejected_total`, "Acquires refused since too many were waiting.", one(stats.rejected_count)),
    counter(`${prefix}_canceled_total`, "Acquires that their caller gave up.", one(stats.canceled_count)),
    counter(`${prefix}_leaks_total`, "Connections held for longer than the threshold.", one(stats.leak_count)),
    counter(`${prefix}_create_errors_total`, "Connections that could not be opened.", one(stats.create_error_count)),
    counter(
      `${prefix}_closed_total`,
      "Connections closed, by reason.",
      ...byLabel(
        "reason",
        {
          max_idle: stats.max_idle_closed,
          max_idle_time: stats.max_idle_time_closed,
          max_lifetime: stats.max_lifetime_closed,
          max_uses: stats.max_uses_closed,
          max_open: stats.max_open_closed,
          reset: stats.reset_closed,
          broken: stats.broken_closed,
          dirty: stats.dirty_closed,
        },
        labels,
      ),
    ),
    counter(
      "db_client_statements_total",
      "Statements by whether their connection had prepared them.",
      ...byLabel("result", { hit: stats.statement_hit_count, miss: stats.statement_miss_count }, labels),
    ),
    durations(`${prefix}_wait_time_seconds`, "Waits for a connection, of those who had to wait.", wait, labels),
    durations(`${prefix}_use_time_seconds`, "How long connections were held.", use, labels),
    durations(`${prefix}_create_time_seconds`, "How long connections took to open.", create, labels),
  ];
}
