/** Makes the parts of a server from its configuration. */
import { LRUCache } from "@vg/cache";
import { createLogger, type Logger, type LogLevel } from "@vg/logging";
import { accessLog, type AccessExchange, type AccessLog } from "@vg/logging/access-log";
import { DbPool } from "@vg/pool-db";
import { HttpPool } from "@vg/pool-http";
import type { CheckedConfig } from "./config/check-config.ts";
import { PooledServerConfigError } from "./errors.ts";
import { InferenceMeter } from "./inference/inference-meter.ts";
import { registerInferenceMetrics } from "./inference/inference-metrics.ts";
import { Inference, type InferenceCaches } from "./inference/inference.ts";
import type { FaultReport } from "./metrics/gathering.ts";
import { MetricsRegistry } from "./metrics/registry.ts";
import type { HealthCheck } from "./probes/background-check.ts";
import { withTraceHeaders } from "./request/trace-headers.ts";

const DATABASE_CHECK_MS = 2_000;

export function makeLogger(config: CheckedConfig): Logger {
  const {
    logLevel: level,
    logLevels: levels,
    logFormat: format,
    logTimeFormat: timeFormat,
    logCaller: caller,
  } = config;
  return configured(() => createLogger({ level, levels, format, timeFormat, caller }));
}

export function makeMetrics(config: CheckedConfig, logger: Logger): MetricsRegistry {
  const report: FaultReport = (error, level) => logger[level]("/metrics is not complete", error);
  return configured(() => new MetricsRegistry(config.metrics, report));
}

/** Its figures are in the metrics from then on. */
export function makeInference(caches: InferenceCaches, config: CheckedConfig, metrics: MetricsRegistry): Inference {
  const { inference: settings, clock } = config;
  const { models } = settings.prices;
  const inference = new Inference(caches, settings, new InferenceMeter(metrics, clock, models));
  registerInferenceMetrics(metrics, () => inference.getStats(), models.length > 0);
  return inference;
}

export function makeAccessLog(config: CheckedConfig, logger: Logger): AccessLog | undefined {
  const { accessLog: options, trustedProxies, forwardedHeader, clock } = config;
  if (options === undefined) return undefined;
  return configured(() =>
    accessLog(logger, { level: levelByStatus, ...options, trustedProxies, forwardedHeader, clock }),
  );
}

/** As in @vg/logging, but that 503 is no fault: who gives it knows, and says when to come back. */
function levelByStatus({ statusCode }: AccessExchange): LogLevel {
  if (statusCode < 400) return "info";
  return statusCode < 500 || statusCode === 503 ? "warn" : "error";
}

export function makeDbPool(config: CheckedConfig, logger: Logger): DbPool | undefined {
  const { postgresDsn: dsn, dbMaxOpenConns: maxOpenConns, dbMaxIdleConns: maxIdleConns, dbPool } = config;
  if (dsn === undefined) return undefined;
  return configured(() => new DbPool({ name: "db", logger, ...dbPool, dsn, maxOpenConns, maxIdleConns }));
}

export function makeHttpPool(config: CheckedConfig, logger: Logger): HttpPool {
  const { httpMaxIdleConns: maxIdleConns, httpMaxIdleConnsPerHost, httpMaxConnsPerHost, httpTimeoutMs } = config;
  return configured(
    () =>
      new HttpPool({
        name: "http",
        logger,
        ...config.httpPool,
        headers: withTraceHeaders(config.httpPool.headers),
        maxIdleConns,
        maxIdleConnsPerHost: Math.min(httpMaxIdleConnsPerHost, httpMaxConnsPerHost, maxIdleConns),
        maxConnsPerHost: httpMaxConnsPerHost,
        timeoutMs: httpTimeoutMs,
      }),
  );
}

/** A part that refuses its options is this server's configuration error; the part's own words say which option. */
function configured<T>(make: () => T): T {
  try {
    return make();
  } catch (cause) {
    throw new PooledServerConfigError(`PooledServer: ${(cause as Error).message}`, { cause });
  }
}

/**
 * Asks the database for a row, through the pool as any request would. Where the wait for a connection was too long, but
 * others' connections came back meanwhile, the database works, and it is the pool that is too small: a readiness that
 * failed then would send this load to the other instances.
 */
export function databaseCheck(pool: DbPool, critical: boolean): HealthCheck {
  return {
    critical,
    // The pool's own limit comes first: its error says more.
    timeoutMs: DATABASE_CHECK_MS + 500,
    async run({ signal }) {
      const before = cameBack(pool);
      try {
        await pool.queryRow("SELECT 1", undefined, { timeoutMs: DATABASE_CHECK_MS, signal });
        return undefined;
      } catch (error) {
        if (neverSent(error) && cameBack(pool) > before) return { saturated: true, pending: pool.getStats().pending };
        throw error;
      }
    },
  };
}

/** How many connections came back in good order. */
function cameBack(pool: DbPool): number {
  const { release_count, broken_closed } = pool.getStats();
  return release_count - broken_closed;
}

function neverSent(error: unknown): boolean {
  const { code, sent } = error as { code?: string; sent?: boolean };
  return code === "ERR_VG_DB_ACQUIRE_TIMEOUT" || (code === "ERR_VG_DB_QUERY_TIMEOUT" && sent === false);
}

const CLEANUP_MS = { inference: 5 * 60_000, embedding: 10 * 60_000 } as const;

export function makeCache<V>(name: "inference" | "embedding", config: CheckedConfig): LRUCache<string, V> {
  const { [`${name}Cache` as const]: settings, clock } = config;
  return new LRUCache({ name, ...settings, cleanupIntervalMs: CLEANUP_MS[name], clock });
}
