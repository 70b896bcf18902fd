import type { AdmissionOptions } from "./admission-options.ts";

export const ADMISSION_DEFAULTS: Readonly<Required<AdmissionOptions>> = {
  maxConcurrency: "adaptive",
  minConcurrency: 50,
  concurrencyCeiling: 10_000,
  maxUpgradedConnections: 0,
  queueDepth: 1_000,
  queueDeadlineMs: 1_000,
  maxEventLoopUtilization: 0.95,
  maxEventLoopDelayMs: 200,
  rateLimitPerSecond: 10,
  rateLimitHeaders: true,
  maxPipelinedRequests: 100,
  maxRequestsPerSocket: 0,
  maxBodyBytes: 10_485_760,
  maxHeaderBytes: 16_384,
  maxHeaderCount: 200,
  headersTimeoutMs: 10_000,
  receiveTimeoutMs: 300_000,
  minBodyBytesPerSecond: 500,
  bodyGraceMs: 10_000,
  stalledClientMs: 60_000,
  keepAliveTimeoutMs: 65_000,
};

export type CheckedAdmission = Required<AdmissionOptions>;

/** node:http holds fewer bytes of a head than this in vain. */
const LEAST_HEADER_BYTES = 1_024;
const MOST_HEADER_BYTES = 1_048_576;

interface NumberRule {
  fallback: number;
  min?: number;
  max?: number;
}

/** What `checkOptions` gives, as far as it is needed here. */
interface OptionCheck {
  raw(name: string): unknown;
  refuse(name: string, rule: string): Error;
  integer(name: string, rule: NumberRule): number;
  number(name: string, rule: NumberRule): number;
  durationMs(name: string, rule: NumberRule): number;
  boolean(name: string, rule: { fallback: boolean }): boolean;
}

/** @throws what `check` makes */
export function checkAdmission(check: OptionCheck): CheckedAdmission {
  const DEFAULTS = ADMISSION_DEFAULTS;
  const whole = <N extends keyof typeof DEFAULTS>(name: N, { min = 0, max = 10_000_000 } = {}): number =>
    check.integer(name, { fallback: DEFAULTS[name] as number, min, max });
  const duration = <N extends keyof typeof DEFAULTS>(name: N, min: number = 0): number =>
    check.durationMs(name, { fallback: DEFAULTS[name] as number, min });
  const maxConcurrency = check.raw("maxConcurrency") ?? DEFAULTS.maxConcurrency;
  if (maxConcurrency !== "adaptive" && !isWhole(maxConcurrency)) {
    throw check.refuse("maxConcurrency", 'a whole number of at least 0 (0 is no limit), or "adaptive"');
  }
  const concurrencyCeiling = whole("concurrencyCeiling", { min: 1 });
  const receiveTimeoutMs = duration("receiveTimeoutMs");
  const checked: CheckedAdmission = {
    maxConcurrency,
    // A low ceiling, and a short time for the whole, need no second setting.
    minConcurrency: check.integer("minConcurrency", {
      fallback: Math.min(DEFAULTS.minConcurrency, concurrencyCeiling),
      min: 1,
      max: 10_000_000,
    }),
    concurrencyCeiling,
    maxUpgradedConnections: whole("maxUpgradedConnections"),
    queueDepth: whole("queueDepth"),
    queueDeadlineMs: duration("queueDeadlineMs"),
    maxEventLoopUtilization: check.number("maxEventLoopUtilization", {
      fallback: DEFAULTS.maxEventLoopUtilization,
      max: 1,
    }),
    maxEventLoopDelayMs: duration("maxEventLoopDelayMs", 1),
    rateLimitPerSecond: check.number("rateLimitPerSecond", { fallback: DEFAULTS.rateLimitPerSecond, max: 1e6 }),
    rateLimitHeaders: check.boolean("rateLimitHeaders", { fallback: DEFAULTS.rateLimitHeaders }),
    maxPipelinedRequests: whole("maxPipelinedRequests"),
    maxRequestsPerSocket: whole("maxRequestsPerSocket"),
    maxBodyBytes: whole("maxBodyBytes", { max: Number.MAX_SAFE_INTEGER }),
    maxHeaderBytes: whole("maxHeaderBytes", { min: LEAST_HEADER_BYTES, max: MOST_HEADER_BYTES }),
    maxHeaderCount: whole("maxHeaderCount"),
    headersTimeoutMs: check.durationMs("headersTimeoutMs", {
      fallback: Math.min(DEFAULTS.headersTimeoutMs, receiveTimeoutMs || Infinity),
    }),
    receiveTimeoutMs,
    minBodyBytesPerSecond: whole("minBodyBytesPerSecond", { max: 1e9 }),
    bodyGraceMs: duration("bodyGraceMs", 1),
    stalledClientMs: duration("stalledClientMs"),
    keepAliveTimeoutMs: duration("keepAliveTimeoutMs"),
  };
  if (checked.minConcurrency > checked.concurrencyCeiling) {
    throw check.refuse("minConcurrency", `at most concurrencyCeiling (${checked.concurrencyCeiling})`);
  }
  if (receiveTimeoutMs > 0 && checked.headersTimeoutMs > receiveTimeoutMs) {
    throw check.refuse("headersTimeoutMs", `at most receiveTimeoutMs (${receiveTimeoutMs})`);
  }
  return checked;
}

function isWhole(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0;
}
