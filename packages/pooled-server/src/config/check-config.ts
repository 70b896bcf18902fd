import { checkOptions, monotonicClock } from "@vg/internal";
import type { CallerPolicy, LogFormat, Logger, LogLevel, LogTimeFormat } from "@vg/logging";
import type { ForwardedHeader } from "@vg/logging/access-log";
import { PooledServerConfigError } from "../errors.ts";
import { checkAdmission, type CheckedAdmission } from "../admission/check-admission.ts";
import { INFERENCE_CACHE_MODES } from "../inference/cacheability.ts";
import { checkInferenceOptions, type InferenceSettings } from "../inference/inference-options.ts";
import { ClientIdentity } from "../admission/client-identity.ts";
import { renderProblem } from "../request/problem.ts";
import {
  DEFAULTS,
  MAX_CACHE_ENTRIES,
  type Clock,
  type PooledServerConfig,
  type ServerAccessLogOptions,
} from "./options.ts";

/** Options of an access log that follow from the server's own. */
const SERVERS_OWN = [
  "trustedProxies",
  "forwardedHeader",
  "requestIdHeader",
  "generateRequestId",
  "echoRequestId",
  "clock",
];

/** Options of parts that the server has under names of its own, of which one would win over the other unseen. */
const RENAMED = {
  dbPool: { dsn: "postgresDsn", maxOpenConns: "dbMaxOpenConns", maxIdleConns: "dbMaxIdleConns" },
  httpPool: {
    maxIdleConns: "httpMaxIdleConns",
    maxIdleConnsPerHost: "httpMaxIdleConnsPerHost",
    maxConnsPerHost: "httpMaxConnsPerHost",
    timeoutMs: "httpTimeoutMs",
  },
  metrics: {},
} as const;

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
  dbOperationMetrics: boolean;
  httpMaxIdleConns: number;
  httpMaxIdleConnsPerHost: number;
  httpMaxConnsPerHost: number;
  httpTimeoutMs: number;
  httpPool: NonNullable<PooledServerConfig["httpPool"]>;
  inferenceCache: CacheSettings;
  embeddingCache: CacheSettings;
  serviceName: string;
  serviceVersion: string;
  admission: CheckedAdmission;
  clients: ClientIdentity;
  identify: PooledServerConfig["identify"];
  trustedProxies: readonly string[];
  forwardedHeader: ForwardedHeader;
  /** `undefined`: no access log. */
  accessLog: ServerAccessLogOptions | undefined;
  requestTimeoutMs: number;
  shutdownTimeoutMs: number;
  shutdownDelayMs: number;
  healthIntervalMs: number;
  adviceIntervalMs: number;
  adviceWindowMs: number;
  handleSignals: boolean;
  renderProblem: NonNullable<PooledServerConfig["renderProblem"]>;
  metrics: NonNullable<PooledServerConfig["metrics"]>;
  clock: Clock;
  inference: InferenceSettings;
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
  const trustedProxies = check.raw("trustedProxies") ?? [];
  if (!isTexts(trustedProxies)) {
    throw check.refuse("trustedProxies", 'an array of addresses and CIDR ranges, such as ["10.0.0.0/8"]');
  }
  const forwardedHeader = check.oneOf("forwardedHeader", ["x-forwarded-for", "forwarded"], {
    fallback: DEFAULTS.forwardedHeader,
  });
  const clients = new ClientIdentity(trustedProxies, forwardedHeader, (problem) => fail(`PooledServer: ${problem}`));
  const clock = check.objectWith<Clock>("clock", ["now"]) ?? monotonicClock;
  const mode = check.oneOf("inferenceCacheMode", INFERENCE_CACHE_MODES, { fallback: DEFAULTS.inferenceCacheMode });
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
    dbOperationMetrics: check.boolean("dbOperationMetrics", { fallback: DEFAULTS.dbOperationMetrics }),
    httpMaxIdleConns: check.integer("httpMaxIdleConns", { fallback: DEFAULTS.httpMaxIdleConns }),
    httpMaxIdleConnsPerHost: check.integer("httpMaxIdleConnsPerHost", { fallback: DEFAULTS.httpMaxIdleConnsPerHost }),
    httpMaxConnsPerHost: check.integer("httpMaxConnsPerHost", { fallback: DEFAULTS.httpMaxConnsPerHost, min: 1 }),
    httpTimeoutMs: check.durationMs("httpTimeoutMs", { fallback: DEFAULTS.httpTimeoutMs, min: 1 }),
    httpPool: partOptions("httpPool"),
    inferenceCache: cacheSettings("inferenceCache"),
    embeddingCache: cacheSettings("embeddingCache"),
    serviceName: check.string("serviceName", { fallback: DEFAULTS.serviceName }),
    serviceVersion: check.string("serviceVersion", { fallback: DEFAULTS.serviceVersion }),
    admission: checkAdmission(check),
    clients,
    identify: check.function<NonNullable<PooledServerConfig["identify"]>>("identify"),
    trustedProxies,
    forwardedHeader,
    accessLog: accessLogOptions(),
    requestTimeoutMs: check.durationMs("requestTimeoutMs", { fallback: DEFAULTS.requestTimeoutMs }),
    shutdownTimeoutMs: check.durationMs("shutdownTimeoutMs", { fallback: DEFAULTS.shutdownTimeoutMs }),
    shutdownDelayMs: check.durationMs("shutdownDelayMs", { fallback: DEFAULTS.shutdownDelayMs }),
    healthIntervalMs: check.durationMs("healthIntervalMs", { fallback: DEFAULTS.healthIntervalMs, min: 10 }),
    adviceIntervalMs: check.durationMs("adviceIntervalMs", { fallback: DEFAULTS.adviceIntervalMs }),
    adviceWindowMs: check.durationMs("adviceWindowMs", { fallback: DEFAULTS.adviceWindowMs, min: 1 }),
    handleSignals: check.boolean("handleSignals", { fallback: DEFAULTS.handleSignals }),
    renderProblem: check.function<NonNullable<PooledServerConfig["renderProblem"]>>("renderProblem") ?? renderProblem,
    metrics: partOptions("metrics"),
    clock,
    inference: checkInferenceOptions(check.raw("inference") ?? {}, mode, clock),
  };
  if (checked.shutdownDelayMs > checked.shutdownTimeoutMs) {
    throw check.refuse("shutdownDelayMs", `at most shutdownTimeoutMs (${checked.shutdownTimeoutMs})`);
  }
  if (checked.dbCritical && postgresDsn === undefined) {
    throw fail("PooledServer: dbCritical is true, but there is no database: postgresDsn is not set (POSTGRES_DSN).");
  }
  check.noOthers();
  return checked;

  function partOptions<N extends "dbPool" | "httpPool" | "metrics">(name: N): NonNullable<PooledServerConfig[N]> {
    const value = check.raw(name) ?? {};
    if (typeof value !== "object" || Array.isArray(value)) throw check.refuse(name, "an object of options");
    for (const [given, own] of Object.entries(RENAMED[name])) {
      if (given in value) throw fail(`PooledServer: ${name}.${given} is the server's option ${own}; set that instead.`);
    }
    return value;
  }

  function accessLogOptions(): ServerAccessLogOptions | undefined {
    const value = check.raw("accessLog") ?? DEFAULTS.accessLog;
    if (typeof value === "boolean") return value ? {} : undefined;
    if (typeof value !== "object" || Array.isArray(value)) {
      throw check.refuse("accessLog", "true, false or an object of options");
    }
    const own = SERVERS_OWN.find((name) => name in value);
    if (own === undefined) return value as ServerAccessLogOptions;
    throw fail(`PooledServer: accessLog.${own} is the server's own to set; leave it out.`);
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

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((each) => typeof each === "string");
}
