import { checkOptions, monotonicClock } from "@vg/internal";
import { CacheConfigError } from "./errors.ts";
import type { CacheCallbackError } from "./errors.ts";
import type { EvictionReason } from "./evictions.ts";

/** Milliseconds from any start, not going back. 0 is a time like any other. Read anew at each call. */
export interface Clock {
  now(): number;
}

export interface LRUCacheOptions<K, V> {
  /** Appears in every error and warning. Default `"cache"`. */
  name?: string | undefined;
  /** The most entries it holds, 1 to 8,388,608. Default 1000. Memory grows with the entries, not with this number. */
  capacity?: number | undefined;
  /** The TTL of entries that are set without one, above 0; `Infinity`: they never expire. Default 3,600,000 (1 hour). */
  defaultTtlMs?: number | undefined;
  /** The most bytes that all values may take together, at least 1. Default: no limit. Turns the weighing of values on. */
  maxBytes?: number | undefined;
  /**
   * The bytes of a value, a whole number of at least 0; default `estimateSize`. Turns the weighing of values on. It must
   * not change the cache.
   */
  sizeOf?: ((value: V, key: K) => number) | undefined;
  /** Which entry gives way when there is no room: the least recently used one. */
  policy?: "lru" | undefined;
  /**
   * How often expired entries are looked for in the background, 0 to 2^31-1; 0: never. Default 60,000 (1 minute).
   * Without it they go when they are asked for, or when room is needed.
   */
  cleanupIntervalMs?: number | undefined;
  /** Called once for each value that leaves, after the change that made it leave is complete. */
  onEvict?: ((key: K, value: V, reason: EvictionReason) => void | Promise<void>) | undefined;
  /** Gets what `onEvict` throws or rejects with. Default: the first one of a cache becomes a process warning. */
  onError?: ((error: CacheCallbackError) => void | Promise<void>) | undefined;
  /** Every how many `get` calls one is timed for `avg_access_time`, 0 to 1,000,000; 0: none. Default 64. */
  timeEveryNthGet?: number | undefined;
  /**
   * The time that TTLs are measured by. Default: the process's monotonic clock. One that gives no finite number makes
   * `set` throw (`CacheConfigError`); by NaN, what has a TTL counts as expired.
   */
  clock?: Clock | undefined;
}

export interface SetOptions {
  /** Milliseconds to live, above 0; `Infinity`: for ever; left out or 0: `defaultTtlMs`. */
  ttlMs?: number | undefined;
  /** The bytes to count for the value, instead of `sizeOf`: a whole number of at least 0. */
  sizeBytes?: number | undefined;
}

export interface LoadOptions<K, V> {
  /** As in `SetOptions`, or a function of the loaded value: undefined means the default, 0 or less "don't store it". */
  ttlMs?: number | ((value: V, key: K) => number | undefined) | undefined;
  /** As in `SetOptions`. */
  sizeBytes?: number | undefined;
  /** Lets this caller leave: its promise rejects with the signal's reason; the load goes on for the others. */
  signal?: AbortSignal | undefined;
}

/** The options with all defaults in place. */
export interface CheckedOptions<K, V> {
  readonly name: string;
  readonly capacity: number;
  readonly defaultTtlMs: number;
  readonly maxBytes: number;
  readonly sizeOf: ((value: V, key: K) => number) | undefined;
  readonly cleanupIntervalMs: number;
  readonly onEvict: ((key: K, value: V, reason: EvictionReason) => void | Promise<void>) | undefined;
  readonly onError: ((error: CacheCallbackError) => void | Promise<void>) | undefined;
  readonly timeEveryNthGet: number;
  readonly clock: Clock;
}

/** V8's Map has room for 2^24 keys, deleted ones included; above half of that, churn makes it throw. */
export const CAPACITY_RULE: { min: number; max: number; hint: string } = {
  min: 1,
  max: 2 ** 23,
  hint: "It is the number of entries; V8's Map cannot churn more. Spread a larger set over several caches.",
};
const DEFAULTS = {
  name: "cache",
  capacity: 1000,
  defaultTtlMs: 3_600_000,
  cleanupIntervalMs: 60_000,
  timeEveryNthGet: 64,
};

/** Checks every option. @throws {CacheConfigError} */
export function checkCacheOptions<K, V>(options: LRUCacheOptions<K, V>): CheckedOptions<K, V> {
  const check = checkOptions("LRUCache", options, configError);
  const checked = {
    name: check.string("name", { fallback: DEFAULTS.name }),
    capacity: check.integer("capacity", { fallback: DEFAULTS.capacity, ...CAPACITY_RULE }),
    defaultTtlMs: check.durationMs("defaultTtlMs", {
      fallback: DEFAULTS.defaultTtlMs,
      max: Infinity,
      hint: "Infinity makes entries that never expire.",
    }),
    maxBytes:
      check.raw("maxBytes") === Infinity
        ? Infinity
        : check.integer("maxBytes", { fallback: Infinity, min: 1, hint: "Leave it out for no limit." }),
    sizeOf: check.function<(value: V, key: K) => number>("sizeOf"),
    cleanupIntervalMs: check.durationMs("cleanupIntervalMs", {
      fallback: DEFAULTS.cleanupIntervalMs,
      hint: "0 turns the cleanup in the background off.",
    }),
    onEvict: check.function<(key: K, value: V, reason: EvictionReason) => void | Promise<void>>("onEvict"),
    onError: check.function<(error: CacheCallbackError) => void | Promise<void>>("onError"),
    timeEveryNthGet: check.integer("timeEveryNthGet", { fallback: DEFAULTS.timeEveryNthGet, max: 1_000_000 }),
    clock: check.objectWith<Clock>("clock", ["now"]) ?? monotonicClock,
  };
  check.oneOf("policy", ["lru"], { fallback: "lru", hint: "Exact LRU is the only policy of this version." });
  check.noOthers();
  if (checked.defaultTtlMs === 0) {
    throw check.refuse("defaultTtlMs", "a number of milliseconds above 0", "Infinity makes entries that never expire.");
  }
  return checked;
}

export function configError(message: string): CacheConfigError {
  return new CacheConfigError(message);
}
