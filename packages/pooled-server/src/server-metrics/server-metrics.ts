/** What the server's own parts show in `/metrics`. */
import type { CacheStats } from "@vg/cache";
import type { LoggerStats } from "@vg/logging";
import type { MetricFamily } from "../metrics/family.ts";
import type { MetricsRegistry } from "../metrics/registry.ts";
import type { CheckResult } from "../probes/background-check.ts";
import { admissionFamilies, type AdmissionSource } from "./admission.ts";
import { cacheFamilies } from "./caches.ts";
import { databaseFamilies, type DatabaseSource } from "./database.ts";
import { OPERATION_BUCKETS, watchDatabaseOperations } from "./database-operations.ts";
import { DELAY_BUCKETS, EventLoopWatch } from "./event-loop.ts";
import { gauge } from "./families.ts";
import { GC_BUCKETS, watchGarbageCollection } from "./garbage-collection.ts";
import { httpPoolFamilies, type HttpPoolSource } from "./http-pool.ts";
import { logFamilies } from "./log.ts";
import { runtimeFamilies } from "./runtime.ts";

interface Sources {
  serviceName: string;
  serviceVersion: string;
  activeRequests: () => number;
  state: () => string;
  checks: () => Readonly<Record<string, Pick<CheckResult, "status">>>;
  admission: AdmissionSource;
  logStats: () => LoggerStats;
  database: DatabaseSource | undefined;
  /** Whether the durations of its queries are observed. */
  databaseOperations: boolean;
  httpPool: HttpPoolSource;
  caches: Readonly<Record<string, { getStats(): CacheStats }>>;
}

const STATES = ["starting", "ready", "degraded", "draining", "closed"];

/**
 * Registers the metrics that the server's parts count anyway; they are read at the scrape. Names follow OpenTelemetry's
 * semantic conventions as Prometheus spells them, and `vg_` stands where these have none. A collector for each part: one that fails
 * hides no other.
 *
 * @returns ends what measures in the background
 */
export function registerServerMetrics(registry: MetricsRegistry, sources: Sources): { stop(): void } {
  const { database } = sources;
  registry.collect(function server() {
    return serverFamilies(sources);
  });
  registry.collect(function admission() {
    return admissionFamilies(sources.admission);
  });
  registry.collect(function log() {
    return logFamilies(sources.logStats());
  });
  if (database !== undefined) {
    registry.collect(function databasePool() {
      return databaseFamilies(database);
    });
  }
  const operations = database && sources.databaseOperations ? databaseOperations(registry, database) : undefined;
  registry.collect(function httpPool() {
    return httpPoolFamilies(sources.httpPool);
  });
  registry.collect(function caches() {
    const stats = Object.entries(sources.caches).map(([name, cache]) => [name, cache.getStats()] as const);
    return cacheFamilies(Object.fromEntries(stats));
  });
  const delays = registry.histogram({
    name: "nodejs_eventloop_delay_seconds",
    help: "How late a timer of the event loop was, measured every 20 ms.",
    buckets: DELAY_BUCKETS,
    labelNames: [],
  });
  const loop = new EventLoopWatch(delays.child());
  const collections = registry.histogram({
    name: "v8js_gc_duration_seconds",
    help: "Duration of garbage collections.",
    buckets: GC_BUCKETS,
    labelNames: ["v8js_gc_type"],
  });
  const gc = watchGarbageCollection(collections);
  registry.collect(function runtime() {
    return runtimeFamilies(loop);
  });
  return {
    stop() {
      loop.stop();
      gc.stop();
      operations?.stop();
    },
  };
}

function databaseOperations(registry: MetricsRegistry, { pool }: DatabaseSource): { stop(): void } {
  const durations = registry.histogram({
    name: "db_client_operation_duration_seconds",
    help: "Duration of the pool's queries, waits for a connection included.",
    buckets: OPERATION_BUCKETS,
    labelNames: ["db_system_name", "db_client_connection_pool_name", "error_type"],
  });
  return watchDatabaseOperations(durations, pool.name);
}

function serverFamilies({ serviceName, serviceVersion, activeRequests, state, checks }: Sources): MetricFamily[] {
  const now = state();
  return [
    gauge("vg_build_info", "The service's name and version; always 1.", {
      labels: { service: serviceName, version: serviceVersion, node: process.version },
      value: 1,
    }),
    gauge(
      "vg_server_state",
      "1 for the state of the server's lifecycle, 0 for the others.",
      ...STATES.map((one) => ({ labels: { state: one }, value: one === now ? 1 : 0 })),
    ),
    gauge(
      "vg_health_check_up",
      "1 where the last run of a health check passed, else 0.",
      ...Object.entries(checks()).map(([check, { status }]) => ({
        labels: { check },
        value: status === "pass" ? 1 : 0,
      })),
    ),
    gauge("http_server_active_requests", "Requests being handled now, probes excluded.", { value: activeRequests() }),
  ];
}
