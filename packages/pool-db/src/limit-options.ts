/** The options that may change while a pool runs: how many, how long, how often. */
import { checkOptions, describeValue, LONGEST_DELAY_MS } from "@vg/internal";
import { PoolConfigError } from "./errors.ts";
import type { DbPoolOptions } from "./options.ts";
import type { PoolLimits } from "./pool/resource.ts";

export const MAX_CONNS = 100_000;

const OUR_NAMES = [
  "maxOpenConns",
  "maxIdleConns",
  "minIdleConns",
  "connMaxLifetimeMs",
  "connMaxIdleTimeMs",
  "acquireTimeoutMs",
  "connectTimeoutMs",
  "queryTimeoutMs",
  "maxWaiting",
  "maxConnecting",
  "maxUses",
  "maxIdleTrimDelayMs",
  "validateAfterIdleMs",
  "resetTimeoutMs",
  "leakDetectionThresholdMs",
] as const;

/** pg's names of some of them. */
const PG_NAMES = [
  "max",
  "min",
  "maxLifetimeSeconds",
  "idleTimeoutMillis",
  "connectionTimeoutMillis",
  "query_timeout",
] as const;

/** All of these options, for who checks that there are no others. `poolSize` is pg-pool's older name of `max`. */
export const LIMIT_NAMES: readonly string[] = [...OUR_NAMES, ...PG_NAMES, "poolSize"];

/** What `configure()` takes: the options of the same names. */
export type DbPoolChanges = Pick<DbPoolOptions, (typeof OUR_NAMES)[number] | (typeof PG_NAMES)[number]>;

export interface ResolvedLimits extends Omit<PoolLimits, "validateTimeoutMs" | "maxShares" | "maxShareAgeMs"> {
  queryTimeoutMs: number;
  /** Whether `maxIdle` was given, and does not follow from the others. */
  maxIdleGiven: boolean;
}

const DEFAULTS: Omit<ResolvedLimits, "maxIdle"> = {
  maxOpen: 25,
  minIdle: 0,
  maxIdleGiven: false,
  maxWaiting: Infinity,
  maxConnecting: 8,
  maxUses: Infinity,
  maxLifetimeMs: 30 * 60_000,
  maxIdleTimeMs: 5 * 60_000,
  acquireTimeoutMs: 30_000,
  createTimeoutMs: 10_000,
  queryTimeoutMs: Infinity,
  maxIdleTrimDelayMs: 5_000,
  validateAfterIdleMs: 1_000,
  resetTimeoutMs: 5_000,
  leakThresholdMs: Infinity,
};

type Check = ReturnType<typeof checkOptions>;

type Fail = (message: string) => PoolConfigError;

/** The one of two names of an option that was given. */
export function either(options: object, ours: string, theirs: string, fail: Fail): string {
  const given = options as Record<string, unknown>;
  if (given[ours] !== undefined && given[theirs] !== undefined) {
    throw fail(`${ours} and ${theirs} are two names of one option. Give one of them.`);
  }
  return given[theirs] === undefined ? ours : theirs;
}

/** What is not given is as it is in `inForce`, or has its default. `owner` stands in the errors. */
export function resolveLimits(owner: string, options: object, fail: Fail, inForce?: ResolvedLimits): ResolvedLimits {
  const check = checkOptions(owner, options, fail);
  const current = inForce ?? DEFAULTS;
  const { maxOpen, maxIdle, minIdle, maxIdleGiven } = resolveCounts(check, options, fail, inForce);
  const unlimitedAtZero = (ms: number): number => (ms === 0 ? Infinity : ms);
  /** A limit, whose absence is 0 under pg's name and Infinity under ours. */
  const limit = (ours: keyof DbPoolChanges, theirs: string, fallback: number): number => {
    const name = either(options, ours, theirs, fail);
    const value = check.raw(name);
    if (value === undefined) return fallback;
    if (name === theirs) return unlimitedAtZero(check.number(name, { fallback, max: Infinity }));
    if (typeof value === "number" && value > 0) return value;
    throw check.refuse(name, "a number above 0", "Use Infinity for no limit.");
  };
  /** A duration whose absence is 0 or Infinity under both names; `unit`: of pg's, in milliseconds. */
  const lifetime = (ours: keyof DbPoolChanges, theirs: string, unit: number, fallback: number): number => {
    const name = either(options, ours, theirs, fail);
    const value = check.raw(name);
    if (value === undefined) return fallback;
    // pg-pool takes null for "never".
    if (value === null && name === "idleTimeoutMillis") return Infinity;
    return unlimitedAtZero(check.number(name, { fallback, max: Infinity }) * (name === theirs ? unit : 1));
  };
  const countOrInfinity = (name: keyof DbPoolChanges, min: number, fallback: number): number =>
    check.raw(name) === Infinity ? Infinity : check.integer(name, { fallback, min });

  return {
    maxOpen,
    maxIdle,
    minIdle,
    maxIdleGiven,
    maxWaiting: countOrInfinity("maxWaiting", 0, current.maxWaiting),
    maxConnecting: check.integer("maxConnecting", { fallback: current.maxConnecting, min: 1 }),
    maxUses: countOrInfinity("maxUses", 1, current.maxUses),
    maxLifetimeMs: lifetime("connMaxLifetimeMs", "maxLifetimeSeconds", 1_000, current.maxLifetimeMs),
    maxIdleTimeMs: lifetime("connMaxIdleTimeMs", "idleTimeoutMillis", 1, current.maxIdleTimeMs),
    acquireTimeoutMs: limit("acquireTimeoutMs", "connectionTimeoutMillis", current.acquireTimeoutMs),
    createTimeoutMs: check.durationMs("connectTimeoutMs", { fallback: current.createTimeoutMs, min: 1 }),
    // What no timer holds is no limit, and does not stand against pipelining.
    queryTimeoutMs: holdable(limit("queryTimeoutMs", "query_timeout", current.queryTimeoutMs)),
    maxIdleTrimDelayMs: check.number("maxIdleTrimDelayMs", { fallback: current.maxIdleTrimDelayMs, max: Infinity }),
    validateAfterIdleMs: check.number("validateAfterIdleMs", { fallback: current.validateAfterIdleMs, max: Infinity }),
    resetTimeoutMs: check.durationMs("resetTimeoutMs", { fallback: current.resetTimeoutMs, min: 1 }),
    leakThresholdMs: unlimitedAtZero(
      check.number("leakDetectionThresholdMs", { fallback: current.leakThresholdMs, max: Infinity }),
    ),
  };
}

function holdable(ms: number): number {
  return ms > LONGEST_DELAY_MS ? Infinity : ms;
}

type Counts = Pick<ResolvedLimits, "maxOpen" | "maxIdle" | "minIdle" | "maxIdleGiven">;

function resolveCounts(check: Check, options: object, fail: Fail, inForce: ResolvedLimits | undefined): Counts {
  if (check.raw("poolSize") !== undefined && check.raw("max") !== undefined) {
    throw fail("max and poolSize are two names of one option. Give max.");
  }
  const maxName = check.raw("poolSize") === undefined ? "max" : "poolSize";
  const maxOpen = check.integer(either(options, "maxOpenConns", maxName, fail), {
    fallback: inForce?.maxOpen ?? DEFAULTS.maxOpen,
    min: 1,
    max: MAX_CONNS,
    hint: "25 suits most services; the server's max_connections must hold the pools of all processes.",
  });
  const minIdle = check.integer(either(options, "minIdleConns", "min", fail), {
    fallback: inForce?.minIdle ?? DEFAULTS.minIdle,
    max: maxOpen,
    hint: "It cannot exceed maxOpenConns.",
  });
  if (minIdle > maxOpen) throw fail(standsAgainst("minIdleConns", minIdle, "above maxOpenConns", maxOpen));
  const given = inForce?.maxIdleGiven === true ? inForce.maxIdle : undefined;
  const maxIdle = check.integer("maxIdleConns", {
    fallback: given ?? Math.min(maxOpen, Math.max(5, minIdle)),
    min: minIdle,
    max: maxOpen,
    hint: "It lies between minIdleConns and maxOpenConns.",
  });
  if (maxIdle > maxOpen) throw fail(standsAgainst("maxIdleConns", maxIdle, "above maxOpenConns", maxOpen));
  if (maxIdle < minIdle) throw fail(standsAgainst("maxIdleConns", maxIdle, "below minIdleConns", minIdle));
  return { maxOpen, maxIdle, minIdle, maxIdleGiven: given !== undefined || check.raw("maxIdleConns") !== undefined };
}

/** One that is in force already, and would no longer fit. */
function standsAgainst(name: string, value: number, how: string, bound: number): string {
  return `configure(): ${name}, which is ${value} now, would be ${how}, ${bound}. Give ${name} as well.`;
}

/**
 * The limits after `changes`.
 * @throws {PoolConfigError} for a value that cannot be right, alone or beside those in force, and for another option
 */
export function changeLimits(pool: string, changes: DbPoolChanges, inForce: ResolvedLimits): ResolvedLimits {
  const fail = (message: string): PoolConfigError => new PoolConfigError(pool, message);
  checkOptions("configure()", changes, fail);
  const known = new Set(LIMIT_NAMES);
  const fixed = Object.keys(changes).find((name) => !known.has(name));
  if (fixed !== undefined) {
    throw fail(
      `configure(): ${describeValue(fixed)} is none of the options that may change while a pool runs: ${OUR_NAMES.join(", ")}.`,
    );
  }
  return resolveLimits("configure()", changes, fail, inForce);
}
