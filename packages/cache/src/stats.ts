import { describeValue } from "@vg/internal";
import type { EvictionReason } from "./evictions.ts";
import { configError } from "./options.ts";

/**
 * A frozen snapshot of one cache. Counters count from construction or the last `resetStats()`, and are exact; gauges
 * (`entries`, `capacity`, sizes, `loads_in_flight`) are as of the call.
 *
 * From construction on, `sets` = `entries` + `evictions` + `expirations` + `deletes` + `replaced` + `cleared`.
 */
export interface CacheStats {
  /** Look-ups by `get`, `getOrLoad` and `getManyOrLoad` that found a live entry, or one kept for revalidation. */
  readonly hits: number;
  /** Those that did not, those that joined a running load included. */
  readonly misses: number;
  /** hits / (hits + misses), 0 to 1; 0 before the first. */
  readonly hit_rate: number;
  /** Of `hits`, those whose value was over, but kept for revalidation. */
  readonly stale_hits: number;
  /** Of `misses`, those that got a value that was over since its load failed. */
  readonly stale_on_error: number;
  /** Live entries that left for want of room: `evictions_capacity` + `evictions_bytes`. */
  readonly evictions: number;
  readonly evictions_capacity: number;
  readonly evictions_bytes: number;
  /** Entries that left after their time was over. */
  readonly expirations: number;
  /** Entries whose time is not over; those that are kept for loads count until they are not. */
  readonly entries: number;
  /** The most entries. */
  readonly capacity: number;
  /**
   * Bytes of the values / 1024 / 1024. With `maxBytes`, `sizeOf` or an explicit `sizeBytes`: the exact sum of the sizes
   * the entries were stored with. Else an estimate made for this call: of up to 256 entries, which share the time that
   * `estimateSize` takes for one value at most; up to 39 objects and 390 properties a value are looked at as a whole.
   */
  readonly total_size_mb: number;
  /** `maxBytes` / 1024 / 1024; 0: no limit. */
  readonly max_size_mb: number;
  /**
   * Microseconds: the mean of sampled look-ups, the first one and the one after every 256 hits or 256 misses
   * (`timeEveryNthGet`). One reading of the clock, about 0.04, is in it, and what `onEvict` does in a look-up that finds an
   * expired entry.
   */
  readonly avg_access_time: number;
  /** Values stored, by `set`, a load or `load(dump)`. */
  readonly sets: number;
  /** Live entries that `delete` removed. */
  readonly deletes: number;
  /** Live entries whose value gave way to another one of their key. */
  readonly replaced: number;
  /** Live entries that `clear` removed. */
  readonly cleared: number;
  /** Values that were not stored since they alone were larger than `maxBytes`. */
  readonly rejected_too_large: number;
  /** Loads that ended with a value, whether it was stored or not. */
  readonly loads_ok: number;
  /** Loads that ended with an error, those that took too long included. */
  readonly loads_failed: number;
  /** Loads whose last caller left before they ended. */
  readonly loads_abandoned: number;
  /** Look-ups that joined a running load instead of starting one. */
  readonly loads_deduplicated: number;
  /** Loads that were started in the background, for a value that was still there. */
  readonly refreshes: number;
  /** Loads that run. */
  readonly loads_in_flight: number;
  /** Milliseconds: the mean duration of the loads in `loads_ok` and `loads_failed`; 0 before the first. */
  readonly load_time_ms: number;
  /** How often `onEvict` or `onError` threw or rejected. */
  readonly callback_errors: number;
  /**
   * The same for the time since an earlier snapshot of this cache: counters and means are those of the time between,
   * gauges those of this one. After a `resetStats()` in between it counts from there.
   *
   * @throws {CacheConfigError} if `previous` is no snapshot, or another cache's
   */
  since(previous: CacheStats): CacheStats;
}

/** The counters of a cache; plain fields, so that counting costs one increment. */
export interface Counters {
  hits: number;
  misses: number;
  staleHits: number;
  staleOnError: number;
  sets: number;
  capacity: number;
  bytes: number;
  expired: number;
  deleted: number;
  replaced: number;
  cleared: number;
  rejectedTooLarge: number;
  timedGets: number;
  timedGetsMs: number;
  loadsOk: number;
  loadsFailed: number;
  loadsAbandoned: number;
  loadsDeduplicated: number;
  refreshes: number;
  loadTimeMs: number;
  callbackErrors: number;
}

export type LoadOutcome = "ok" | "failed" | "abandoned";

/**
 * Counts a departure. By a `switch`, since `counters[reason]` is what V8 can't compile well, and this is the path of
 * every eviction.
 */
export function countDeparture(counters: Counters, reason: EvictionReason): void {
  switch (reason) {
    case "capacity":
      counters.capacity++;
      return;
    case "bytes":
      counters.bytes++;
      return;
    case "expired":
      counters.expired++;
      return;
    case "replaced":
      counters.replaced++;
      return;
    case "deleted":
      counters.deleted++;
      return;
    case "cleared":
      counters.cleared++;
  }
}

/** Counts the end of a load. */
export function countLoad(counters: Counters, outcome: LoadOutcome, durationMs: number): void {
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
    staleHits: 0,
    staleOnError: 0,
    sets: 0,
    capacity: 0,
    bytes: 0,
    expired: 0,
    deleted: 0,
    replaced: 0,
    cleared: 0,
    rejectedTooLarge: 0,
    timedGets: 0,
    timedGetsMs: 0,
    loadsOk: 0,
    loadsFailed: 0,
    loadsAbandoned: 0,
    loadsDeduplicated: 0,
    refreshes: 0,
    loadTimeMs: 0,
    callbackErrors: 0,
  };
}

/** What a snapshot needs beside the counters. */
export interface Gauges {
  readonly entries: number;
  readonly capacity: number;
  readonly bytes: number;
  readonly maxBytes: number;
  readonly loadsInFlight: number;
}

/** Which cache's counters, and how often they have begun anew. */
export interface Epoch {
  readonly cache: object;
  readonly resets: number;
}

/** @param counters as they are now; the snapshot keeps them */
export function snapshot(counters: Counters, epoch: Epoch, gauges: Gauges): CacheStats {
  return new Snapshot(counters, epoch, gauges);
}

/** The document is in the own properties, so that it can be spread, listed and written as JSON. */
class Snapshot implements CacheStats {
  readonly hits: number;
  readonly misses: number;
  readonly hit_rate: number;
  readonly stale_hits: number;
  readonly stale_on_error: number;
  readonly evictions: number;
  readonly evictions_capacity: number;
  readonly evictions_bytes: number;
  readonly expirations: number;
  readonly entries: number;
  readonly capacity: number;
  readonly total_size_mb: number;
  readonly max_size_mb: number;
  readonly avg_access_time: number;
  readonly sets: number;
  readonly deletes: number;
  readonly replaced: number;
  readonly cleared: number;
  readonly rejected_too_large: number;
  readonly loads_ok: number;
  readonly loads_failed: number;
  readonly loads_abandoned: number;
  readonly loads_deduplicated: number;
  readonly refreshes: number;
  readonly loads_in_flight: number;
  readonly load_time_ms: number;
  readonly callback_errors: number;
  readonly #counters: Counters;
  readonly #epoch: Epoch;
  readonly #gauges: Gauges;

  constructor(counters: Counters, epoch: Epoch, gauges: Gauges) {
    this.#counters = counters;
    this.#epoch = epoch;
    this.#gauges = gauges;
    this.hits = counters.hits;
    this.misses = counters.misses;
    this.hit_rate = mean(counters.hits, counters.hits + counters.misses);
    this.stale_hits = counters.staleHits;
    this.stale_on_error = counters.staleOnError;
    this.evictions = counters.capacity + counters.bytes;
    this.evictions_capacity = counters.capacity;
    this.evictions_bytes = counters.bytes;
    this.expirations = counters.expired;
    this.entries = gauges.entries;
    this.capacity = gauges.capacity;
    this.total_size_mb = gauges.bytes / 1024 / 1024;
    this.max_size_mb = gauges.maxBytes === Infinity ? 0 : gauges.maxBytes / 1024 / 1024;
    this.avg_access_time = mean(counters.timedGetsMs * 1000, counters.timedGets);
    this.sets = counters.sets;
    this.deletes = counters.deleted;
    this.replaced = counters.replaced;
    this.cleared = counters.cleared;
    this.rejected_too_large = counters.rejectedTooLarge;
    this.loads_ok = counters.loadsOk;
    this.loads_failed = counters.loadsFailed;
    this.loads_abandoned = counters.loadsAbandoned;
    this.loads_deduplicated = counters.loadsDeduplicated;
    this.refreshes = counters.refreshes;
    this.loads_in_flight = gauges.loadsInFlight;
    this.load_time_ms = mean(counters.loadTimeMs, counters.loadsOk + counters.loadsFailed);
    this.callback_errors = counters.callbackErrors;
    Object.freeze(this);
  }

  since(previous: CacheStats): CacheStats {
    if (!(typeof previous === "object" && previous !== null && #counters in previous)) {
      throw configError(
        `CacheStats: since() needs an earlier result of getStats(), as it was returned, got ${describeValue(previous)}. ` +
          `A copy, or one that was JSON, has lost what the means are made of.`,
      );
    }
    if (previous.#epoch.cache !== this.#epoch.cache) {
      throw configError(
        "CacheStats: since() needs an earlier result of getStats() of the same cache, got another one's.",
      );
    }
    const between = { ...this.#counters };
    if (previous.#epoch.resets === this.#epoch.resets) {
      for (const name of Object.keys(between) as (keyof Counters)[]) between[name] -= previous.#counters[name];
    }
    return snapshot(between, this.#epoch, this.#gauges);
  }
}

function mean(sum: number, count: number): number {
  return count === 0 ? 0 : sum / count;
}
