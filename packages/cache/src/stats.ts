import type { EvictionReason } from "./evictions.ts";

/**
 * A frozen snapshot of one cache. Counters count from construction or the last `resetStats()`, and are exact; gauges
 * (`entries`, `capacity`, sizes, `loads_in_flight`) are as of the call.
 *
 * From construction on, `sets` = `entries` + `evictions` + `expirations` + `deletes` + `replaced` + `cleared`.
 */
export interface CacheStats {
  /** `get` and `getOrLoad` calls that found a live entry. */
  readonly hits: number;
  /** `get` and `getOrLoad` calls that did not, those that joined a running load included. */
  readonly misses: number;
  /** hits / (hits + misses), 0 to 1; 0 before the first. */
  readonly hit_rate: number;
  /** Live entries that left for want of room: `evictions_capacity` + `evictions_bytes`. */
  readonly evictions: number;
  readonly evictions_capacity: number;
  readonly evictions_bytes: number;
  /** Entries that left after their TTL had passed. */
  readonly expirations: number;
  /** Live entries. */
  readonly entries: number;
  readonly capacity: number;
  /**
   * Bytes of the values / 1024 / 1024. With `maxBytes`, `sizeOf` or an explicit `sizeBytes`: the exact sum of the sizes
   * the entries were stored with. Else an estimate made for this call: of up to 1,024 entries, which share the time that
   * `estimateSize` takes for one value at most; up to 9 objects and 97 properties a value are looked at as a whole.
   */
  readonly total_size_mb: number;
  /** `maxBytes` / 1024 / 1024; 0: no limit. */
  readonly max_size_mb: number;
  /** Microseconds: the mean of the first and every 64th look-up (`timeEveryNthGet`) by `get` or `getOrLoad`, a read of the clock included. */
  readonly avg_access_time: number;
  /** Values stored, by `set`, a load or `load(dump)`. */
  readonly sets: number;
  /** Live entries that `delete` removed. */
  readonly deletes: number;
  /** Live entries whose value gave way to another `set` of their key. */
  readonly replaced: number;
  /** Live entries that `clear` removed. */
  readonly cleared: number;
  /** Values that were not stored since they alone were larger than `maxBytes`. */
  readonly rejected_too_large: number;
  /** Loads that ended with a value, whether it was stored or not. */
  readonly loads_ok: number;
  /** Loads that ended with an error while somebody waited. */
  readonly loads_failed: number;
  /** Loads whose last caller left before they ended. */
  readonly loads_abandoned: number;
  /** Calls of `getOrLoad` that joined a running load instead of starting one. */
  readonly loads_deduplicated: number;
  /** Loads that run and are waited for. */
  readonly loads_in_flight: number;
  /** Milliseconds: the mean duration of the loads in `loads_ok` and `loads_failed`; 0 before the first. */
  readonly load_time_ms: number;
  /** How often `onEvict` or `onError` threw or rejected. */
  readonly callback_errors: number;
}

/** The counters of a cache; plain fields, so that counting costs one increment. */
export interface Counters {
  hits: number;
  misses: number;
  sets: number;
  left: Record<EvictionReason, number>;
  rejectedTooLarge: number;
  timedGets: number;
  timedGetsMs: number;
  loadsOk: number;
  loadsFailed: number;
  loadsAbandoned: number;
  loadsDeduplicated: number;
  loadTimeMs: number;
}

/** Counts the end of a load. */
export function countLoad(counters: Counters, outcome: "ok" | "failed" | "abandoned", durationMs: number): void {
  if (outcome === "abandoned") {
    counters.loadsAbandoned++;
    return;
  }
  if (outcome === "ok") counters.loadsOk++;
  else counters.loadsFailed++;
  // A clock that gave no number once must not make a NaN of the mean for ever.
  if (durationMs > 0) counters.loadTimeMs += durationMs;
}

export function freshCounters(): Counters {
  return {
    hits: 0,
    misses: 0,
    sets: 0,
    left: { capacity: 0, bytes: 0, expired: 0, deleted: 0, replaced: 0, cleared: 0 },
    rejectedTooLarge: 0,
    timedGets: 0,
    timedGetsMs: 0,
    loadsOk: 0,
    loadsFailed: 0,
    loadsAbandoned: 0,
    loadsDeduplicated: 0,
    loadTimeMs: 0,
  };
}

/** What a snapshot needs beside the counters. */
export interface Gauges {
  readonly entries: number;
  readonly capacity: number;
  readonly bytes: number;
  readonly maxBytes: number;
  readonly loadsInFlight: number;
  readonly callbackErrors: number;
}

export function snapshot(counters: Counters, gauges: Gauges): CacheStats {
  const { left } = counters;
  return Object.freeze({
    hits: counters.hits,
    misses: counters.misses,
    hit_rate: mean(counters.hits, counters.hits + counters.misses),
    evictions: left.capacity + left.bytes,
    evictions_capacity: left.capacity,
    evictions_bytes: left.bytes,
    expirations: left.expired,
    entries: gauges.entries,
    capacity: gauges.capacity,
    total_size_mb: gauges.bytes / 1024 / 1024,
    max_size_mb: gauges.maxBytes === Infinity ? 0 : gauges.maxBytes / 1024 / 1024,
    avg_access_time: mean(counters.timedGetsMs * 1000, counters.timedGets),
    sets: counters.sets,
    deletes: left.deleted,
    replaced: left.replaced,
    cleared: left.cleared,
    rejected_too_large: counters.rejectedTooLarge,
    loads_ok: counters.loadsOk,
    loads_failed: counters.loadsFailed,
    loads_abandoned: counters.loadsAbandoned,
    loads_deduplicated: counters.loadsDeduplicated,
    loads_in_flight: gauges.loadsInFlight,
    load_time_ms: mean(counters.loadTimeMs, counters.loadsOk + counters.loadsFailed),
    callback_errors: gauges.callbackErrors,
  });
}

function mean(sum: number, count: number): number {
  return count === 0 ? 0 : sum / count;
}
