import { channel } from "node:diagnostics_channel";
import type { DbQueryMessage } from "@vg/pool-db";
import type { HistogramFamily } from "../metrics/histogram.ts";

/** Seconds. */
export const OPERATION_BUCKETS: readonly number[] = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10];

/** What a SQLSTATE looks like, and the code of an error of ours or of Node's. */
const CODE = /^[A-Z0-9_]{3,60}$/;

/**
 * Observes how long the pool's queries took. The pool tells of them only while somebody listens, so this costs nothing
 * where it was not asked for.
 */
export function watchDatabaseOperations(durations: Pick<HistogramFamily, "child">, pool: string): { stop(): void } {
  const queries = channel("vg:pool-db:query");
  const observe = (message: unknown): void => {
    const { pool: of, durationMs, error } = message as DbQueryMessage;
    if (of !== pool) return;
    const error_type = error === undefined ? "" : errorType(error);
    durations
      .child({ db_system_name: "postgresql", db_client_connection_pool_name: pool, error_type })
      .observe(durationMs / 1000);
  };
  queries.subscribe(observe);
  return {
    stop() {
      queries.unsubscribe(observe);
    },
  };
}

function errorType(error: unknown): string {
  const { code } = (error ?? {}) as { code?: unknown };
  return typeof code === "string" && CODE.test(code) ? code : "_OTHER";
}
