import type { CallerPolicy, LogFormat, Logger, LogLevel, LogTimeFormat } from "@vg/logging";
import type { AccessLogOptions, ForwardedHeader } from "@vg/logging/access-log";
import type { DbPoolOptions } from "@vg/pool-db";
import type { HttpPoolOptions } from "@vg/pool-http";
import type { IncomingMessage } from "node:http";
import type { InferenceCacheMode } from "../inference/cacheability.ts";
import type { InferenceOptions } from "../inference/inference-options.ts";
import type { MetricsOptions } from "../metrics/registry.ts";
import type { AdmissionOptions } from "../admission/admission-options.ts";
import { ADMISSION_DEFAULTS } from "../admission/check-admission.ts";
import type { Problem } from "../request/problem.ts";

/** Milliseconds from any start, never going back. */
export interface Clock {
  now(): number;
}

/** Options of the access log; those that the server itself knows are left out. */
export type ServerAccessLogOptions = Omit<
  AccessLogOptions,
  "trustedProxies" | "forwardedHeader" | "requestIdHeader" | "generateRequestId" | "echoRequestId" | "clock"
>;

/** Every setting of a pooled server. All are optional; the defaults are those of `DEFAULTS`. */
export interface PooledServerConfig extends AdmissionOptions {
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
  /** Whether `/metrics` shows how long queries take: `db_client_operation_duration_seconds`. Default false. */
  dbOperationMetrics?: boolean;

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
  /**
   * Which completions `server.inference` caches: "deterministic" (those that must come out the same, and those that ask
   * for it), "opt-in" (only those), "always"; default "deterministic".
   */
  inferenceCacheMode?: InferenceCacheMode;
  /** More about `server.inference`: what is stored, limits. */
  inference?: InferenceOptions;
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
  /**
   * Names the client of a request for the rate limit; `undefined` is whoever is at that address. Default: the credential
   * in `authorization` or `x-api-key`, which nobody has checked: give the checked one here, or a client that makes up
   * credentials has no limit.
   */
  identify?: (request: IncomingMessage) => string | undefined;
  /** Addresses or CIDR ranges of proxies whose `forwardedHeader` is believed; default none. */
  trustedProxies?: readonly string[];
  /** The header that these proxies set; clients can forge the other one. Default "x-forwarded-for". */
  forwardedHeader?: ForwardedHeader;
  /** One log line a request, `http_request`; options as in @vg/logging/access-log. Default true. */
  accessLog?: boolean | ServerAccessLogOptions;
  /**
   * How long a request may take until its answer begins; then its signal aborts, and where its handler says nothing then,
   * the client gets 504. Default 0: no limit.
   */
  requestTimeoutMs?: number;
  /** The deadline of `close()`, all steps together; default 10,000 ms. */
  shutdownTimeoutMs?: number;
  /** How long `close()` goes on serving with `/readyz` already off, so that balancers notice; default 0 ms. */
  shutdownDelayMs?: number;
  /** How often the health checks run; default 5,000 ms. */
  healthIntervalMs?: number;
  /** How often the figures are looked at for advice (`advise()`); default 10,000 ms, 0 never. */
  adviceIntervalMs?: number;
  /** How far back advice looks; default 300,000 ms. */
  adviceWindowMs?: number;
  /** Close on SIGTERM and SIGINT, end at once on a second one. Default false: the process owns its signals. */
  handleSignals?: boolean;
  /** The body of the server's own error answers (400, 408, 413, 417, 429, 431, 500, 501, 503, 504); default: the error document of the v2 API. */
  renderProblem?: (problem: Problem, request: IncomingMessage) => unknown;
  /** Limits of `/metrics`: `maxSeries` (2,000) of each metric, and `createdTimestamps` (false). */
  metrics?: MetricsOptions;
  /** For tests: what tells the time; default the system's monotonic clock. */
  clock?: Clock;
}

const OWN_DEFAULTS = {
  logLevel: "info",
  logFormat: "json",
  logTimeFormat: "rfc3339",
  logCaller: "warn",
  dbMaxOpenConns: 25,
  dbMaxIdleConns: 5,
  dbCritical: false,
  dbOperationMetrics: false,
  httpMaxIdleConns: 100,
  httpMaxIdleConnsPerHost: 10,
  httpMaxConnsPerHost: 20,
  httpTimeoutMs: 30_000,
  inferenceCacheCapacity: 1_000,
  inferenceCacheTtlMs: 3_600_000,
  inferenceCacheMode: "deterministic",
  embeddingCacheCapacity: 500,
  embeddingCacheTtlMs: 86_400_000,
  serviceName: "pooled-server",
  serviceVersion: "0.0.0",
  forwardedHeader: "x-forwarded-for",
  accessLog: true,
  requestTimeoutMs: 0,
  shutdownTimeoutMs: 10_000,
  shutdownDelayMs: 0,
  healthIntervalMs: 5_000,
  adviceIntervalMs: 10_000,
  adviceWindowMs: 300_000,
  handleSignals: false,
} as const;

/** Every default in one place. */
export const DEFAULTS: typeof OWN_DEFAULTS & typeof ADMISSION_DEFAULTS = { ...OWN_DEFAULTS, ...ADMISSION_DEFAULTS };

/** More is a slip of the pen: eight million answers take gigabytes. */
export const MAX_CACHE_ENTRIES = 8_388_608;
