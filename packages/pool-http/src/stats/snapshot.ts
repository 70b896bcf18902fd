import type { CloseReason } from "../transport/connection-watcher.ts";
import type { OriginCounters, PoolCounters } from "./counters.ts";
import type { HttpOriginStats, HttpPoolHistograms, HttpPoolStats } from "./document.ts";

export interface ConnectionCounts {
  readonly queued: number;
  readonly open: number;
  readonly idle: number;
}

/** What is not counted but looked at. */
export interface StatsSources {
  readonly connections: ConnectionCounts;
  connectionsOf(origin: string): ConnectionCounts;
  retryBudgetLeft(origin: string): number | null;
}

export function statsOf(
  pool: PoolCounters,
  closed: Readonly<Record<CloseReason, number>>,
  origins: ReadonlyMap<string, OriginCounters>,
  sources: StatsSources,
): HttpPoolStats {
  const { queue, connect, tls, firstByte } = pool;
  const perOrigin: Record<string, HttpOriginStats> = {};
  for (const [origin, counters] of origins) {
    perOrigin[origin] = Object.freeze({
      ...trafficOf(counters, sources.connectionsOf(origin)),
      retry_budget_left: sources.retryBudgetLeft(origin),
    });
  }
  return Object.freeze({
    ...trafficOf(pool, sources.connections),
    timeouts_by_phase: Object.freeze({ ...pool.timeoutsByPhase }),
    p50_queue_ms: queue.percentile(0.5),
    p95_queue_ms: queue.percentile(0.95),
    p99_queue_ms: queue.percentile(0.99),
    p999_queue_ms: queue.percentile(0.999),
    p50_connect_ms: connect.percentile(0.5),
    p95_connect_ms: connect.percentile(0.95),
    p99_connect_ms: connect.percentile(0.99),
    p999_connect_ms: connect.percentile(0.999),
    p50_tls_ms: tls.percentile(0.5),
    p95_tls_ms: tls.percentile(0.95),
    p99_tls_ms: tls.percentile(0.99),
    p999_tls_ms: tls.percentile(0.999),
    p50_first_byte_ms: firstByte.percentile(0.5),
    p95_first_byte_ms: firstByte.percentile(0.95),
    p99_first_byte_ms: firstByte.percentile(0.99),
    p999_first_byte_ms: firstByte.percentile(0.999),
    closed_by_reason: Object.freeze({ ...closed }),
    leak_count: pool.leaks,
    per_origin: Object.freeze(perOrigin),
  });
}

export function histogramsOf({ latency, queue, connect, tls, firstByte }: PoolCounters): HttpPoolHistograms {
  return Object.freeze({
    latency: latency.snapshot(),
    queue: queue.snapshot(),
    connect: connect.snapshot(),
    tls: tls.snapshot(),
    first_byte: firstByte.snapshot(),
  });
}

function trafficOf(
  counters: PoolCounters | OriginCounters,
  connections: ConnectionCounts,
): Omit<HttpOriginStats, "retry_budget_left"> {
  const { latency, successes, errors, attempts, bytesSent, bytesReceived } = counters;
  const ended = successes + errors;
  return {
    request_count: counters.requests,
    success_count: successes,
    error_count: errors,
    canceled_count: counters.canceled,
    success_rate: ended === 0 ? 1 : successes / ended,
    attempt_count: attempts,
    reuse_ratio: attempts === 0 ? 0 : counters.reused / attempts,
    retry_count: counters.retries,
    retries_by_cause: Object.freeze({ ...counters.retriesByCause }),
    retries_denied: counters.retriesDenied,
    stale_resends: counters.staleResends,
    timeout_count: counters.timeouts,
    avg_latency_ms: latency.mean,
    p50_latency_ms: latency.percentile(0.5),
    p95_latency_ms: latency.percentile(0.95),
    p99_latency_ms: latency.percentile(0.99),
    p999_latency_ms: latency.percentile(0.999),
    avg_queue_ms: counters.queue.mean,
    avg_connect_ms: counters.connect.mean,
    avg_tls_ms: counters.tls.mean,
    avg_first_byte_ms: counters.firstByte.mean,
    total_bytes: bytesReceived + bytesSent,
    bytes_received: bytesReceived,
    bytes_sent: bytesSent,
    in_flight: counters.inFlight,
    queued: connections.queued,
    open_connections: connections.open,
    idle_connections: connections.idle,
    connect_count: counters.connects,
    connect_failure_count: counters.connectFailures,
  };
}
