import { checkOptions, monotonicClock, readEnvironment } from "@vg/internal";
import {
  type CallerPolicy,
  createLogger,
  loggerConfigFromEnv,
  type LogFormat,
  type Logger,
  type LogLevel,
  type LogTimeFormat,
} from "@vg/logging";
import type { DbPoolOptions } from "@vg/pool-db";
import type { HttpPoolOptions } from "@vg/pool-http";
import type { IncomingMessage } from "node:http";
import { PooledServerConfigError } from "./errors.ts";
import { renderProblem, type Problem } from "./problem.ts";
import { ClientIdentity } from "./rate-limiter.ts";

/** Milliseconds from any start, never going back. */
export interface Clock {
  now(): number;
}

/** Every setting of a pooled server. All are optional; the defaults are those of `DEFAULTS`. */
export interface PooledServerConfig {
  // Logging. Either a logger of yours, or what it takes to make one.
  /** Use this logger. Then the other log… options are not allowed; the server flushes but does not close it. */
  logger?: Logger;
  /** "trace" | "debug" | "info" | "warn" | "error" | "fatal" | "silent"; default "info". */
  logLevel?: LogLevel;
  /** "json" | "console"; default "json". */
  logFormat?: LogFormat;
  /** "rfc3339" | "unix" | "unix_ms"; default "rfc3339". */
  logTimeFormat?: LogTimeFormat;
  /** Levels by component, as `{ db: "debug" }`; default none. */
  logLevels?: Readonly<Record<string, LogLevel>>;
  /** Which lines say where they were logged: "off" | "warn" (and above) | "all"; default "warn". */
  logCaller?: CallerPolicy;

  // Database. Without a DSN there is no database pool.
  /** `postgres://user:password@host:port/database`. */
  postgresDsn?: string;
  /** Connections open at most, 1 or more; default 25. */
  dbMaxOpenConns?: number;
  /** Connections kept idle at most; default 5. */
  dbMaxIdleConns?: number;
  /** More options for the pool, see @vg/pool-db; the two above win. */
  dbPool?: Omit<DbPoolOptions, "dsn" | "maxOpenConns" | "maxIdleConns">;
  /** Whether the service is of no use without the database: `/readyz` then fails with it. Default false. */
  dbCritical?: boolean;

  // HTTP pool.
  /** Idle connections at most, over all hosts; default 100. */
  httpMaxIdleConns?: number;
  /** Idle connections a host at most; default 10. */
  httpMaxIdleConnsPerHost?: number;
  /** Connections a host at most, and so the calls that one upstream gets at a time; default 20. */
  httpMaxConnsPerHost?: number;
  /** The deadline of one request of the HTTP pool, retries included; default 30,000 ms. */
  httpTimeoutMs?: number;
  /** More options for the pool, see @vg/pool-http; the four above win. */
  httpPool?: Omit<HttpPoolOptions, "maxIdleConns" | "maxIdleConnsPerHost" | "maxConnsPerHost" | "timeoutMs">;

  // Caches.
  /** Entries at most; default 1,000. */
  inferenceCacheCapacity?: number;
  /** How long an entry lives; default 1 hour. */
  inferenceCacheTtlMs?: number;
  /** Bytes at most, by the cache's own estimate; default: no limit. */
  inferenceCacheMaxBytes?: number;
  /** Entries at most; default 500. */
  embeddingCacheCapacity?: number;
  /** How long an entry lives; default 24 hours. */
  embeddingCacheTtlMs?: number;
  /** Bytes at most, by the cache's own estimate; default: no limit. */
  embeddingCacheMaxBytes?: number;

  // Serving.
  /** The name in `/v2/health`; default "pooled-server". */
  serviceName?: string;
  /** The version in `/v2/health` and `vg_build_info`; default "0.0.0". */
  serviceVersion?: string;
  /** Requests a second that one client may make, and as many at once; default 10, 0 is no limit. */
  rateLimitPerSecond?: number;
  /**
   * Names the client of a request for the rate limit; `undefined` is whoever is at that address. Default: the credential
   * in `authorization` or `x-api-key`, which nobody has checked: give the checked one here, or a client that makes up
   * credentials has no limit.
   */
  identify?: (request: IncomingMessage) => string | undefined;
  /** Addresses or CIDR ranges of proxies whose `x-forwarded-for` is believed; default none. */
  trustedProxies?: readonly string[];
  /** The deadline of `close()`, all steps together; default 10,000 ms. */
  shutdownTimeoutMs?: number;
  /** How long `close()` goes on serving with `/readyz` already off, so that balancers notice; default 0 ms. */
  shutdownDelayMs?: number;
  /** How often the health checks run; default 5,000 ms. */
  healthIntervalMs?: number;
  /** Close on SIGTERM and SIGINT, end at once on a second one. Default false: the process owns its signals. */
  handleSignals?: boolean;
  /** The body of the server's own error answers (429, 500, 503); default: the error document of the v2 API. */
  renderProblem?: (problem: Problem, request: IncomingMessage) => unknown;
  /** For tests: what tells the time; default the system's monotonic clock. */
  clock?: Clock;
}

/** Every default in one place. */
export const DEFAULTS = {
  logLevel: "info",
  logFormat: "json",
  logTimeFormat: "rfc3339",
  logCaller: "warn",
  dbMaxOpenConns: 25,
  dbMaxIdleConns: 5,
  dbCritical: false,
  httpMaxIdleConns: 100,
  httpMaxIdleConnsPerHost: 10,
  httpMaxConnsPerHost: 20,
  httpTimeoutMs: 30_000,
  inferenceCacheCapacity: 1_000,
  inferenceCacheTtlMs: 3_600_000,
  embeddingCacheCapacity: 500,
  embeddingCacheTtlMs: 86_400_000,
  serviceName: "pooled-server",
  serviceVersion: "0.0.0",
  rateLimitPerSecond: 10,
  shutdownTimeoutMs: 10_000,
  shutdownDelayMs: 0,
  healthIntervalMs: 5_000,
  handleSignals: false,
} as const;

/** More is a slip of the pen: eight million answers take gigabytes. */
const MAX_CACHE_ENTRIES = 8_388_608;

const fail = (message: string): PooledServerConfigError => new PooledServerConfigError(message);

/** What a cache is made with. */
interface CacheSettings {
  capacity: number;
  defaultTtlMs: number;
  maxBytes?: number;
}

/** The configuration with every default filled in and every value checked. */
export interface CheckedConfig {
  logger: Logger | undefined;
  logLevel: LogLevel;
  logFormat: LogFormat;
  logTimeFormat: LogTimeFormat;
  logLevels: Readonly<Record<string, LogLevel>> | undefined;
  logCaller: CallerPolicy;
  postgresDsn: string | undefined;
  dbMaxOpenConns: number;
  dbMaxIdleConns: number;
  dbPool: NonNullable<PooledServerConfig["dbPool"]>;
  dbCritical: boolean;
  httpMaxIdleConns: number;
  httpMaxIdleConnsPerHost: number;
  httpMaxConnsPerHost: number;
  httpTimeoutMs: number;
  httpPool: NonNullable<PooledServerConfig["httpPool"]>;
  inferenceCache: CacheSettings;
  embeddingCache: CacheSettings;
  serviceName: string;
  serviceVersion: string;
  rateLimitPerSecond: number;
  clients: ClientIdentity;
  identify: PooledServerConfig["identify"];
  shutdownTimeoutMs: number;
  shutdownDelayMs: number;
  healthIntervalMs: number;
  handleSignals: boolean;
  renderProblem: NonNullable<PooledServerConfig["renderProblem"]>;
  clock: Clock;
}

/** @throws PooledServerConfigError */
export function checkConfig(config: PooledServerConfig): CheckedConfig {
  const check = checkOptions("PooledServer", config, fail);
  const logger = check.objectWith<Logger>("logger", ["info", "warn", "error", "withContext", "withFields", "flush"]);
  for (const name of ["logLevel", "logFormat", "logTimeFormat", "logLevels", "logCaller"] as const) {
    if (check.raw(name) !== undefined && logger !== undefined) {
      throw fail(`PooledServer: ${name} goes with a logger that the server makes; set it on the logger you pass.`);
    }
  }
  const postgresDsn = check.string("postgresDsn", { fallback: undefined });
  const dbMaxOpenConns = check.integer("dbMaxOpenConns", { fallback: DEFAULTS.dbMaxOpenConns, min: 1, max: 100_000 });
  const dbMaxIdleConns = check.integer("dbMaxIdleConns", {
    // A small pool needs no second setting.
    fallback: Math.min(DEFAULTS.dbMaxIdleConns, dbMaxOpenConns),
    max: 100_000,
  });
  if (dbMaxIdleConns > dbMaxOpenConns) {
    throw check.refuse("dbMaxIdleConns", `at most dbMaxOpenConns (${dbMaxOpenConns})`);
  }
  const trustedProxies = (check.raw("trustedProxies") ?? []) as readonly string[];
  let clients: ClientIdentity;
  try {
    clients = new ClientIdentity(trustedProxies);
  } catch (cause) {
    throw new PooledServerConfigError(`PooledServer: trustedProxies: ${(cause as Error).message}`, { cause });
  }
  const checked: CheckedConfig = {
    logger,
    logLevel: config.logLevel ?? DEFAULTS.logLevel,
    logFormat: config.logFormat ?? DEFAULTS.logFormat,
    logTimeFormat: config.logTimeFormat ?? DEFAULTS.logTimeFormat,
    logLevels: config.logLevels,
    logCaller: config.logCaller ?? DEFAULTS.logCaller,
    postgresDsn,
    dbMaxOpenConns,
    dbMaxIdleConns,
    dbPool: partOptions("dbPool"),
    dbCritical: check.boolean("dbCritical", { fallback: DEFAULTS.dbCritical }),
    httpMaxIdleConns: check.integer("httpMaxIdleConns", { fallback: DEFAULTS.httpMaxIdleConns }),
    httpMaxIdleConnsPerHost: check.integer("httpMaxIdleConnsPerHost", { fallback: DEFAULTS.httpMaxIdleConnsPerHost }),
    httpMaxConnsPerHost: check.integer("httpMaxConnsPerHost", { fallback: DEFAULTS.httpMaxConnsPerHost, min: 1 }),
    httpTimeoutMs: check.durationMs("httpTimeoutMs", { fallback: DEFAULTS.httpTimeoutMs, min: 1 }),
    httpPool: partOptions("httpPool"),
    inferenceCache: cacheSettings("inferenceCache"),
    embeddingCache: cacheSettings("embeddingCache"),
    serviceName: check.string("serviceName", { fallback: DEFAULTS.serviceName }),
    serviceVersion: check.string("serviceVersion", { fallback: DEFAULTS.serviceVersion }),
    rateLimitPerSecond: check.number("rateLimitPerSecond", { fallback: DEFAULTS.rateLimitPerSecond, max: 1e6 }),
    clients,
    identify: check.function<NonNullable<PooledServerConfig["identify"]>>("identify"),
    shutdownTimeoutMs: check.durationMs("shutdownTimeoutMs", { fallback: DEFAULTS.shutdownTimeoutMs }),
    shutdownDelayMs: check.durationMs("shutdownDelayMs", { fallback: DEFAULTS.shutdownDelayMs }),
    healthIntervalMs: check.durationMs("healthIntervalMs", { fallback: DEFAULTS.healthIntervalMs, min: 10 }),
    handleSignals: check.boolean("handleSignals", { fallback: DEFAULTS.handleSignals }),
    renderProblem: check.function<NonNullable<PooledServerConfig["renderProblem"]>>("renderProblem") ?? renderProblem,
    clock: check.objectWith<Clock>("clock", ["now"]) ?? monotonicClock,
  };
  if (checked.shutdownDelayMs > checked.shutdownTimeoutMs) {
    throw check.refuse("shutdownDelayMs", `at most shutdownTimeoutMs (${checked.shutdownTimeoutMs})`);
  }
  check.noOthers();
  return checked;

  function partOptions<N extends "dbPool" | "httpPool">(name: N): NonNullable<PooledServerConfig[N]> {
    const value = check.raw(name) ?? {};
    if (typeof value !== "object" || Array.isArray(value)) throw check.refuse(name, "an object of options");
    return value;
  }

  function cacheSettings(name: "inferenceCache" | "embeddingCache"): CacheSettings {
    const maxBytes = check.raw(`${name}MaxBytes`);
    return {
      capacity: check.integer(`${name}Capacity`, {
        fallback: DEFAULTS[`${name}Capacity`],
        min: 1,
        max: MAX_CACHE_ENTRIES,
      }),
      defaultTtlMs: check.durationMs(`${name}TtlMs`, {
        fallback: DEFAULTS[`${name}TtlMs`],
        min: 1,
        max: Number.MAX_SAFE_INTEGER,
      }),
      ...(maxBytes === undefined ? {} : { maxBytes: check.integer(`${name}MaxBytes`, { fallback: 0, min: 1 }) }),
    };
  }
}

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
