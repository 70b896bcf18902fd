import { readEnvironment } from "@vg/internal";
import { createLogger, loggerConfigFromEnv } from "@vg/logging";
import { PooledServerConfigError } from "../errors.ts";
import { DEFAULTS, MAX_CACHE_ENTRIES, type PooledServerConfig } from "./options.ts";

const fail = (message: string): PooledServerConfigError => new PooledServerConfigError(message);

/**
 * Reads the environment variables of the service: LOG_LEVEL, LOG_FORMAT, LOG_TIME_FORMAT, LOG_CALLER,
 * POSTGRES_DSN, DB_MAX_OPEN_CONNS, DB_MAX_IDLE_CONNS, HTTP_MAX_IDLE_CONNS, HTTP_MAX_CONNS_PER_HOST, HTTP_TIMEOUT_SECONDS,
 * INFERENCE_CACHE_CAPACITY, INFERENCE_CACHE_TTL_HOURS, EMBEDDING_CACHE_CAPACITY, EMBEDDING_CACHE_TTL_HOURS,
 * RATE_LIMIT_PER_SECOND.
 *
 * Unset and blank variables leave the default. Hours and seconds may be decimals above 0.
 *
 * @throws PooledServerConfigError for garbage, naming the variable; a bad LOG_* only logs a warning and takes the default
 */
export function pooledServerConfigFromEnv(env: Record<string, string | undefined> = process.env): PooledServerConfig {
  const read = readEnvironment(env, fail);
  const { config: log, warnings } = loggerConfigFromEnv(env);
  if (warnings.length > 0) {
    const logger = createLogger(log);
    for (const warning of warnings) logger.warn(warning);
  }
  const dbMaxOpenConns = read.integer("DB_MAX_OPEN_CONNS", { min: 1, max: 100_000 });
  const open = dbMaxOpenConns ?? DEFAULTS.dbMaxOpenConns;
  const cacheTtl = { max: Number.MAX_SAFE_INTEGER };
  return definedOnly({
    logLevel: log.level,
    logFormat: log.format,
    logTimeFormat: log.timeFormat,
    logLevels: log.levels,
    logCaller: log.caller,
    postgresDsn: read.text("POSTGRES_DSN"),
    dbMaxOpenConns,
    // No more idle ones than DB_MAX_OPEN_CONNS lets be open.
    dbMaxIdleConns: read.integer("DB_MAX_IDLE_CONNS", { max: open }),
    httpMaxIdleConns: read.integer("HTTP_MAX_IDLE_CONNS"),
    httpMaxConnsPerHost: read.integer("HTTP_MAX_CONNS_PER_HOST", { min: 1 }),
    httpTimeoutMs: read.durationMs("HTTP_TIMEOUT_SECONDS", 1_000, "seconds"),
    inferenceCacheCapacity: read.integer("INFERENCE_CACHE_CAPACITY", { min: 1, max: MAX_CACHE_ENTRIES }),
    inferenceCacheTtlMs: read.durationMs("INFERENCE_CACHE_TTL_HOURS", 3_600_000, "hours", cacheTtl),
    embeddingCacheCapacity: read.integer("EMBEDDING_CACHE_CAPACITY", { min: 1, max: MAX_CACHE_ENTRIES }),
    embeddingCacheTtlMs: read.durationMs("EMBEDDING_CACHE_TTL_HOURS", 3_600_000, "hours", cacheTtl),
    rateLimitPerSecond: read.integer("RATE_LIMIT_PER_SECOND", { max: 1_000_000 }),
  });
}

/** Without the keys that hold `undefined`, so that they cannot hide a default when spread. */
function definedOnly(config: {
  [K in keyof PooledServerConfig]: PooledServerConfig[K] | undefined;
}): PooledServerConfig {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined)) as PooledServerConfig;
}
