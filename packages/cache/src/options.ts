import { checkOptions, monotonicClock } from "@vg/internal";
import { CacheConfigError } from "./errors.ts";
import type { CacheCallbackError } from "./errors.ts";
import type { EvictionReason } from "./evictions.ts";
import { POLICY_NAMES } from "./policy/make-policy.ts";
import type { PolicyName } from "./policy/make-policy.ts";

/** Milliseconds from any start, not going back. 0 is a time like any other. Read anew at each call. */
export interface Clock {
  now(): number;
}

/** How long values live that are stored without a word about it. */
export interface LifetimeOptions {
  /** Milliseconds to live after the last use, above 0, but no longer than the TTL. Default `Infinity`. */
  defaultIdleMs?: number | undefined;
  /** Each TTL is shortened by a random share of it, up to this one, 0 to 1: what came together leaves one by one. Default 0. */
  ttlJitter?: number | undefined;
}

/** How loads behave, unless one says otherwise. */
export interface LoadingOptions {
  /**
   * For so many milliseconds after its TTL a value is still given to `getOrLoad`, at once, while a load in the background
   * replaces it. Default 0. `get` and all others never see it.
   */
  staleWhileRevalidateMs?: number | undefined;
  /** For so many milliseconds after its TTL a value is still given to `getOrLoad` if the load fails. Default 0. */
  staleIfErrorMs?: number | undefined;
  /**
   * After this share of its TTL, above 0, a value that `getOrLoad` finds is loaded anew in the background, so that a value
   * in use never expires. Default 1: never.
   */
  refreshAheadRatio?: number | undefined;
  /** After a load has failed for a value that is still there, so many milliseconds pass before the next one. Default 1000. */
  refreshBackoffMs?: number | undefined;
  /** The TTL of a loaded `undefined` or `null`. Default: that of any value. 0: it is not stored. */
  negativeTtlMs?: number | undefined;
  /** For so many milliseconds the error of a load is given to those who ask for its key, without a load. Default 0. */
  errorTtlMs?: number | undefined;
  /** A load that takes longer fails with `CacheLoadTimeoutError`. Default `Infinity`: its callers' signals end it. */
  loadTimeoutMs?: number | undefined;
}

export interface LRUCacheOptions<K, V> extends LifetimeOptions, LoadingOptions {
  /** Appears in every error and warning. Default `"cache"`. */
  name?: string | undefined;
  /**
   * The most entries it holds, at least 1. Default 1000; with `maxBytes`, or `Infinity` with it: as many as there are
   * bytes. Memory grows with the entries, not with this number.
   */
  capacity?: number | undefined;
  /** The most bytes that all values may take together, at least 1. Default: no limit. Turns the weighing of values on. */
  maxBytes?: number | undefined;
  /**
   * The bytes of a value, a whole number of at least 0; default `estimateSize`. Turns the weighing of values on. It must
   * not change the cache.
   */
  sizeOf?: ((value: V, key: K) => number) | undefined;
  /** The TTL of entries that are set without one, above 0; `Infinity`: they never expire. Default 3,600,000 (1 hour). */
  defaultTtlMs?: number | undefined;
  /** Which entry gives way when there is no room. Default `"lru"`: exactly the least recently used one. */
  policy?: PolicyName | undefined;
  /**
   * Expired entries are removed in the background when their time is over, but no two times within so many milliseconds,
   * 0 to 2^31-1; 0: never, they go when they are asked for, or when room is needed. Default 1000.
   */
  cleanupIntervalMs?: number | undefined;
  /** Called once for each value that leaves, after the change that made it leave is complete. */
  onEvict?: ((key: K, value: V, reason: EvictionReason) => void | Promise<void>) | undefined;
  /** Gets what `onEvict` throws or rejects with. Default: the first one of a cache becomes a process warning. */
  onError?: ((error: CacheCallbackError) => void | Promise<void>) | undefined;
  /** Every how many look-ups one is timed for `avg_access_time`, 0 to 1,000,000; 0: none. Default 256. */
  timeEveryNthGet?: number | undefined;
  /**
   * The time that everything is measured by. Default: the process's monotonic clock. One that gives no finite number makes
   * `set` throw (`CacheConfigError`); by NaN, what has a TTL counts as expired.
   */
  clock?: Clock | undefined;
  /**
   * 0, the default: time is read at each look-up of an entry that can expire. Above 0, to 1000: at most once in so many
   * milliseconds, and once in 32 uses; entries are then served late by that at most, unless the program holds the event
   * loop for longer.
   */
  clockResolutionMs?: number | undefined;
  /** Numbers of 0 or above and below 1, for `ttlJitter` and `policy: "tinylfu"`. Default `Math.random`. */
  random?: (() => number) | undefined;
}

export interface SetOptions {
  /** Milliseconds to live, above 0; `Infinity`: for ever; left out or 0: `defaultTtlMs`. */
  ttlMs?: number | undefined;
  /** Milliseconds to live after the last use, above 0, but no longer than the TTL. Default `defaultIdleMs`. */
  idleMs?: number | undefined;
  /** As for the cache. */
  ttlJitter?: number | undefined;
  /** The bytes to count for the value, instead of `sizeOf`: a whole number of at least 0. */
  sizeBytes?: number | undefined;
}

/** The options with all defaults in place. */
export interface CheckedOptions<K, V> extends Required<LoadingTerms>, LifeTerms {
  readonly name: string;
  readonly capacity: number;
  readonly maxBytes: number;
  readonly sizeOf: ((value: V, key: K) => number) | undefined;
  readonly defaultTtlMs: number;
  readonly policy: PolicyName;
  readonly cleanupIntervalMs: number;
  readonly onEvict: ((key: K, value: V, reason: EvictionReason) => void | Promise<void>) | undefined;
  readonly onError: ((error: CacheCallbackError) => void | Promise<void>) | undefined;
  readonly timeEveryNthGet: number;
  readonly clock: Clock;
  readonly clockResolutionMs: number;
  readonly random: () => number;
}

/** What a value's life has besides its TTL. */
export interface LifeTerms {
  readonly idleMs: number;
  readonly ttlJitter: number;
}

/** `LoadingOptions`, checked. `negativeTtlMs` of undefined: that of any value. */
export interface LoadingTerms {
  readonly staleWhileRevalidateMs: number;
  readonly staleIfErrorMs: number;
  readonly refreshAheadRatio: number;
  readonly refreshBackoffMs: number;
  readonly negativeTtlMs: number | undefined;
  readonly errorTtlMs: number;
  readonly loadTimeoutMs: number;
}

const UNBOUNDED = "A cache needs a limit: capacity, maxBytes, or both.";
export const CAPACITY_RULE: { min: number; hint: string } = { min: 1, hint: "It is the number of entries." };
const DEFAULTS = {
  name: "cache",
  capacity: 1000,
  defaultTtlMs: 3_600_000,
  cleanupIntervalMs: 1000,
  refreshBackoffMs: 1000,
  timeEveryNthGet: 256,
};

/** Checks every option. @throws {CacheConfigError} */
export function checkCacheOptions<K, V>(options: LRUCacheOptions<K, V>): CheckedOptions<K, V> {
  const check = checkOptions("LRUCache", options, configError);
  const maxBytes = limit(check, "maxBytes", Infinity, "Leave it out for no limit.");
  const capacity = limit(check, "capacity", maxBytes === Infinity ? DEFAULTS.capacity : Infinity, CAPACITY_RULE.hint);
  const checked = {
    name: check.string("name", { fallback: DEFAULTS.name }),
    maxBytes,
    // Values of 0 bytes would otherwise have no limit.
    capacity: capacity === Infinity ? maxBytes : capacity,
    sizeOf: check.function<(value: V, key: K) => number>("sizeOf"),
    defaultTtlMs: positive(check, "defaultTtlMs", DEFAULTS.defaultTtlMs, "Infinity makes entries that never expire."),
    policy: check.oneOf("policy", POLICY_NAMES, { fallback: "lru" }),
    cleanupIntervalMs: check.durationMs("cleanupIntervalMs", {
      fallback: DEFAULTS.cleanupIntervalMs,
      hint: "0 turns the cleanup in the background off.",
    }),
    onEvict: check.function<(key: K, value: V, reason: EvictionReason) => void | Promise<void>>("onEvict"),
    onError: check.function<(error: CacheCallbackError) => void | Promise<void>>("onError"),
    timeEveryNthGet: check.integer("timeEveryNthGet", { fallback: DEFAULTS.timeEveryNthGet, max: 1_000_000 }),
    clock: check.objectWith<Clock>("clock", ["now"]) ?? monotonicClock,
    clockResolutionMs: check.durationMs("clockResolutionMs", {
      fallback: 0,
      max: 1000,
      hint: "0 reads the time at each look-up.",
    }),
    random: check.function<() => number>("random") ?? Math.random,
    idleMs: positive(check, "defaultIdleMs", Infinity, "Infinity: unused entries live as long as used ones."),
    ttlJitter: check.number("ttlJitter", { fallback: 0, max: 1 }),
    staleWhileRevalidateMs: check.durationMs("staleWhileRevalidateMs", { fallback: 0, max: Infinity }),
    staleIfErrorMs: check.durationMs("staleIfErrorMs", { fallback: 0, max: Infinity }),
    refreshAheadRatio: ratio(check, "refreshAheadRatio"),
    refreshBackoffMs: check.durationMs("refreshBackoffMs", { fallback: DEFAULTS.refreshBackoffMs, max: Infinity }),
    negativeTtlMs:
      check.raw("negativeTtlMs") === undefined
        ? undefined
        : check.durationMs("negativeTtlMs", { fallback: 0, max: Infinity }),
    errorTtlMs: check.durationMs("errorTtlMs", { fallback: 0, max: Infinity }),
    loadTimeoutMs: positive(check, "loadTimeoutMs", Infinity, "Infinity: only its callers end a load."),
  };
  check.noOthers();
  if (checked.capacity === Infinity && maxBytes === Infinity) throw check.refuse("capacity", "finite", UNBOUNDED);
  return checked;
}

type OptionCheck = ReturnType<typeof checkOptions>;

/** A whole number of at least 1, or Infinity. */
function limit(check: OptionCheck, name: string, fallback: number, hint: string): number {
  return check.raw(name) === Infinity ? Infinity : check.integer(name, { fallback, min: 1, hint });
}

/** Milliseconds above 0, or Infinity. */
function positive(check: OptionCheck, name: string, fallback: number, hint: string): number {
  const value = check.durationMs(name, { fallback, max: Infinity, hint });
  if (value === 0) throw check.refuse(name, "a number of milliseconds above 0", hint);
  return value;
}

/** A share above 0, to 1. */
function ratio(check: OptionCheck, name: string): number {
  const value = check.number(name, { fallback: 1, max: 1, hint: "1: never." });
  if (value === 0) throw check.refuse(name, "above 0", "1: never.");
  return value;
}

export function configError(message: string): CacheConfigError {
  return new CacheConfigError(message);
}
