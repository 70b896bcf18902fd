import { monitorEventLoopDelay, performance, type EventLoopUtilization } from "node:perf_hooks";
import type { LoggerStats } from "@vg/logging";
import type { PoolStats } from "../probes/health-document.ts";
import type { MetricFamily, MetricsRegistry, Sample } from "./registry.ts";

type Stats = Readonly<Record<string, unknown>>;

const number = (stats: Stats, key: string): number => {
  const value = stats[key];
  return typeof value === "number" ? value : 0;
};

const gauge = (name: string, help: string, ...samples: Sample[]): MetricFamily => ({
  name,
  help,
  type: "gauge",
  samples,
});

const counter = (name: string, help: string, ...samples: Sample[]): MetricFamily => ({
  name,
  help,
  type: "counter",
  samples,
});

/** A summary from a sum and a count that the pool keeps anyway, with the percentiles of its histogram. */
function seconds(name: string, help: string, labels: Record<string, string>, stats: SummaryStats): MetricFamily {
  const samples: Sample[] = [
    { labels: { ...labels, quantile: "0.5" }, value: stats.p50 / 1000 },
    { labels: { ...labels, quantile: "0.95" }, value: stats.p95 / 1000 },
    { labels: { ...labels, quantile: "0.99" }, value: stats.p99 / 1000 },
    { suffix: "_sum", labels, value: stats.sum / 1000 },
    { suffix: "_count", labels, value: stats.count },
  ];
  return { name, help, type: "summary", samples };
}

interface SummaryStats {
  p50: number;
  p95: number;
  p99: number;
  sum: number;
  count: number;
}

/**
 * Registers the metrics that the server's parts count anyway; they are read at the scrape. Names follow
 * OpenTelemetry's semantic conventions as Prometheus spells them.
 */
export function registerServerMetrics(
  registry: MetricsRegistry,
  sources: {
    poolStats: () => PoolStats;
    logStats: () => LoggerStats;
    activeRequests: () => number;
    dbPoolName: string;
    serviceName: string;
    serviceVersion: string;
  },
): { stop(): void } {
  registry.collect(() => [
    gauge("vg_build_info", "The service's name and version; always 1.", {
      labels: { service: sources.serviceName, version: sources.serviceVersion, node: process.version },
      value: 1,
    }),
    gauge("http_server_active_requests", "Requests being handled now, probes excluded.", {
      value: sources.activeRequests(),
    }),
    ...logFamilies(sources.logStats()),
  ]);
  registry.collect(() => {
    const { db_pool, http_pool, inference_cache, embedding_cache } = sources.poolStats();
    return [
      ...(db_pool === undefined ? [] : dbFamilies(sources.dbPoolName, db_pool)),
      ...httpFamilies(http_pool),
      ...cacheFamilies({ inference: inference_cache, embedding: embedding_cache }),
    ];
  });
  return registerRuntimeMetrics(registry);
}

function logFamilies(stats: LoggerStats): MetricFamily[] {
  const samples = Object.entries(stats.lines_total).map(([level, value]) => ({ labels: { level }, value }));
  return [
    counter("vg_log_lines_total", "Log lines handed to the destination.", ...samples),
    counter("vg_log_dropped_total", "Log lines that the destination did not take.", { value: stats.dropped_total }),
  ];
}

function dbFamilies(poolName: string, stats: Stats): MetricFamily[] {
  const labels = { db_client_connection_pool_name: poolName };
  const count = (key: string): Sample => ({ labels, value: number(stats, key) });
  const state = (value: string, key: string): Sample => ({
    labels: { ...labels, db_client_connection_state: value },
    value: number(stats, key),
  });
  const closed = (reason: string, key: string): Sample => ({
    labels: { ...labels, reason },
    value: number(stats, key),
  });
  return [
    gauge("db_client_connections", "Open connections by state.", state("idle", "idle"), state("used", "in_use")),
    gauge("db_client_connection_max", "Connections open at most.", count("max_open_connections")),
    gauge("db_client_connection_pending_requests", "Callers waiting for a connection.", count("pending")),
    counter("db_client_connection_acquired_total", "Connections handed out.", count("acquire_count")),
    counter(
      "db_client_connection_waits_total",
      "Acquires that had to wait for a free or new connection.",
      count("wait_count"),
    ),
    counter("db_client_connection_wait_seconds_total", "Time spent waiting for connections.", {
      labels,
      value: number(stats, "wait_duration_ms") / 1000,
    }),
    counter("db_client_connection_timeouts_total", "Acquires that ran out of time.", count("timeout_count")),
    counter("db_client_connection_created_total", "Connections opened.", count("create_count")),
    counter(
      "db_client_connection_create_errors_total",
      "Connections that could not be opened.",
      count("create_error_count"),
    ),
    counter(
      "db_client_connection_closed_total",
      "Connections closed, by reason.",
      closed("max_idle", "max_idle_closed"),
      closed("max_idle_time", "max_idle_time_closed"),
      closed("max_lifetime", "max_lifetime_closed"),
      closed("broken", "broken_closed"),
      closed("dirty", "dirty_closed"),
    ),
  ];
}

function httpFamilies(stats: Stats): MetricFamily[] {
  const count = (key: string): Sample => ({ value: number(stats, key) });
  return [
    gauge(
      "http_client_open_connections",
      "Open connections by state.",
      { labels: { http_connection_state: "idle" }, value: number(stats, "idle_connections") },
      {
        labels: { http_connection_state: "active" },
        value: Math.max(0, number(stats, "open_connections") - number(stats, "idle_connections")),
      },
    ),
    gauge("http_client_active_requests", "Requests of the HTTP pool in flight.", count("in_flight")),
    gauge("http_client_queued_requests", "Requests waiting for a connection of their host.", count("queued")),
    counter("http_client_requests_total", "Requests made through the HTTP pool.", count("request_count")),
    counter("http_client_request_errors_total", "Requests that failed, after all retries.", count("error_count")),
    counter("http_client_request_retries_total", "Attempts beyond the first.", count("retry_count")),
    counter("http_client_request_timeouts_total", "Requests that ran out of time.", count("timeout_count")),
    counter("http_client_response_bytes_total", "Bytes of response bodies received.", count("total_bytes")),
    seconds(
      "http_client_request_duration_seconds",
      "Duration of the HTTP pool's requests, retries included.",
      {},
      {
        p50: number(stats, "p50_latency_ms"),
        p95: number(stats, "p95_latency_ms"),
        p99: number(stats, "p99_latency_ms"),
        sum: number(stats, "avg_latency_ms") * (number(stats, "success_count") + number(stats, "error_count")),
        count: number(stats, "success_count") + number(stats, "error_count"),
      },
    ),
  ];
}

function cacheFamilies(caches: Record<string, Stats>): MetricFamily[] {
  const each = (key: string, extra: Record<string, string> = {}): Sample[] =>
    Object.entries(caches).map(([cache, stats]) => ({ labels: { cache, ...extra }, value: number(stats, key) }));
  return [
    counter(
      "vg_cache_requests_total",
      "Look-ups by result.",
      ...each("hits", { result: "hit" }),
      ...each("misses", { result: "miss" }),
    ),
    gauge("vg_cache_hit_ratio", "Hits / look-ups since the start, 0 to 1.", ...each("hit_rate")),
    gauge("vg_cache_entries", "Live entries.", ...each("entries")),
    gauge("vg_cache_capacity_entries", "Entries at most.", ...each("capacity")),
    gauge(
      "vg_cache_size_bytes",
      "Estimated size of the entries.",
      ...each("total_size_mb").map((sample) => ({ ...sample, value: sample.value * 1024 * 1024 })),
    ),
    counter("vg_cache_evictions_total", "Live entries evicted for room.", ...each("evictions")),
    counter("vg_cache_expirations_total", "Entries whose time was up.", ...each("expirations")),
  ];
}

const RESOLUTION_MS = 20;

function registerRuntimeMetrics(registry: MetricsRegistry): { stop(): void } {
  const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delay.enable();
  let last: EventLoopUtilization = performance.eventLoopUtilization();
  const startTimeSeconds = Math.round(performance.timeOrigin) / 1000;
  registry.collect(() => {
    const memory = process.memoryUsage();
    const cpu = process.cpuUsage();
    const now = performance.eventLoopUtilization();
    const utilization = performance.eventLoopUtilization(now, last).utilization;
    last = now;
    // Node measures from one tick of its timer to the next, so an idle loop shows the timer's own interval. Before the
    // first tick the mean is NaN.
    const nanoseconds = (value: number): number =>
      Number.isFinite(value) ? Math.max(0, value / 1e9 - RESOLUTION_MS / 1e3) : 0;
    const families = [
      counter("process_cpu_seconds_total", "User and system CPU time.", { value: (cpu.user + cpu.system) / 1e6 }),
      gauge("process_resident_memory_bytes", "Resident memory.", { value: memory.rss }),
      gauge("process_start_time_seconds", "When the process started, in Unix time.", { value: startTimeSeconds }),
      gauge("nodejs_heap_used_bytes", "JavaScript heap in use.", { value: memory.heapUsed }),
      gauge("nodejs_heap_total_bytes", "JavaScript heap reserved.", { value: memory.heapTotal }),
      gauge("nodejs_eventloop_utilization_ratio", "Busy share of the event loop since the last scrape.", {
        value: utilization,
      }),
      gauge(
        "nodejs_eventloop_delay_seconds",
        "Delay of the event loop since the last scrape.",
        { labels: { statistic: "mean" }, value: nanoseconds(delay.mean) },
        { labels: { statistic: "p99" }, value: nanoseconds(delay.percentile(99)) },
        { labels: { statistic: "max" }, value: nanoseconds(delay.max) },
      ),
    ];
    delay.reset();
    return families;
  });
  return { stop: () => void delay.disable() };
}
