/*
 * A bounded cache of the process: exact LRU, a TTL for each entry, a budget of bytes, one load at a time for a key.
 *
 * The entries (entries/) know where everything is: an index by key, the order of use (policy/), the deadlines
 * (expiry/). This class decides what leaves and why, counts it, and tells `onEvict` when everything is consistent
 * again. Loads (loading/) run outside the entries and write through `set`.
 *
 * Rules that hold for every verb:
 * - An expired entry is never served or counted. Whatever finds it takes it out as "expired"; `peek`, `has`,
 *   `getRemainingTtlMs`, `dump` and iteration only overlook it, since they change nothing.
 * - When room is needed, expired entries go before live ones, and live ones in exact order of use.
 * - A verb checks its arguments, and asks `sizeOf`, before it changes anything.
 * - A key that is set, deleted or cleared fences the load that runs for it.
 * - `onEvict` runs at the end of a verb, once for each value that left, never inside another `onEvict`.
 */
import {
  checkCallOptions,
  checkCapacity,
  checkElapsed,
  checkLoad,
  checkSize,
  checkTime,
  checkTtl,
} from "./arguments.ts";
import { checkDump, dumpEntries, liveEntries } from "./dump.ts";
import type { CacheDump } from "./dump.ts";
import { EntryTable } from "./entries/entry-table.ts";
import { estimateSize } from "./estimate-size.ts";
import { EvictionListener } from "./evictions.ts";
import type { EvictionReason } from "./evictions.ts";
import { CleanupTimer } from "./expiry/cleanup-timer.ts";
import { UNDECIDED } from "./expiry/deadline-heap.ts";
import { InflightLoads } from "./loading/inflight-loads.ts";
import type { LoadContext, LoadObserver } from "./loading/inflight-loads.ts";
import { checkCacheOptions } from "./options.ts";
import type { Clock, LoadOptions, LRUCacheOptions, SetOptions } from "./options.ts";
import { countLoad, freshCounters, snapshot } from "./stats.ts";
import type { CacheStats } from "./stats.ts";

/** How many floors of the deadline heap one `set` repairs at most while it looks for an expired entry. */
const REPAIRS_PER_SET = 64;
/** How many entries one tick of the cleanup in the background handles at most. */
const ENTRIES_PER_TICK = 1000;

/**
 * A bounded in-process cache. Keys are compared as a Map does it, values may be anything, `undefined` included (`has`
 * tells it from a miss). Values are stored as they are, not copied.
 */
export class LRUCache<K, V> {
  readonly name: string;
  readonly #label: string;
  readonly #clock: Clock;
  readonly #defaultTtlMs: number;
  readonly #maxBytes: number;
  readonly #sizeOf: (value: V, key: K) => number;
  readonly #entries = new EntryTable<K, V>();
  readonly #loads: InflightLoads<K, V>;
  /** Undefined: nobody listens. */
  readonly #listener: EvictionListener<K, V> | undefined;
  /** Undefined: no cleanup in the background. Armed by the first entry that can expire. */
  readonly #cleanup: CleanupTimer<LRUCache<K, V>> | undefined;
  #capacity: number;
  #counters = freshCounters();
  readonly #observeLoad: LoadObserver = (outcome, durationMs) => countLoad(this.#counters, outcome, durationMs);
  readonly #timeEveryNthGet: number;
  /** Counts down to the next look-up that is timed; below 0: none is. */
  #getsUntilTimed: number;

  /** @throws {CacheConfigError} if an option is out of range, of the wrong type, or unknown */
  constructor(options: LRUCacheOptions<K, V> = {}) {
    const checked = checkCacheOptions(options);
    this.name = checked.name;
    this.#label = `LRUCache ${JSON.stringify(checked.name)}`;
    this.#clock = checked.clock;
    this.#capacity = checked.capacity;
    this.#defaultTtlMs = checked.defaultTtlMs;
    this.#maxBytes = checked.maxBytes;
    this.#sizeOf = checked.sizeOf ?? estimateSize;
    this.#loads = new InflightLoads(this.#label, this.#clock, this.#observeLoad);
    this.#timeEveryNthGet = checked.timeEveryNthGet;
    // The first one is timed, so that a quiet cache has a figure too.
    this.#getsUntilTimed = Math.min(1, checked.timeEveryNthGet);
    if (checked.onEvict !== undefined) {
      this.#listener = new EvictionListener(this.#label, checked.onEvict, checked.onError);
    }
    if (checked.cleanupIntervalMs > 0) {
      // No function in this constructor may use `this`: they share one scope, and the timer would keep the cache alive.
      this.#cleanup = new CleanupTimer<LRUCache<K, V>>(checked.cleanupIntervalMs, this, (cache) => cache.#tick());
    }
    if (checked.maxBytes !== Infinity || checked.sizeOf !== undefined) this.#entries.startWeighing(this.#sizeOf);
  }

  /** The most entries it holds; `resize` changes it. */
  get capacity(): number {
    return this.#capacity;
  }

  /** How many live entries it holds. Takes all expired ones out first, so its time grows with their number. */
  get size(): number {
    this.cleanupExpired();
    return this.#entries.count;
  }

  /** The value, which becomes the most recently used one; undefined if there is none (`has` tells, if that is a value). */
  get(key: K): V | undefined {
    const slot = --this.#getsUntilTimed === 0 ? this.#timedUse(key) : this.#use(key);
    return slot === 0 ? undefined : this.#entries.value(slot);
  }

  /** As `get`, but changes nothing: neither the order of use nor the statistics. */
  peek(key: K): V | undefined {
    const slot = this.#entries.find(key);
    return slot === 0 || this.#isExpired(slot) ? undefined : this.#entries.value(slot);
  }

  /** Whether a live entry has this key. Changes nothing. */
  has(key: K): boolean {
    const slot = this.#entries.find(key);
    return slot !== 0 && !this.#isExpired(slot);
  }

  /** The milliseconds that the entry has left: above 0, `Infinity` if it never expires, undefined if there is none. */
  getRemainingTtlMs(key: K): number | undefined {
    const slot = this.#entries.find(key);
    if (slot === 0) return undefined;
    const deadline = this.#entries.deadline(slot);
    const remaining = deadline === Infinity ? Infinity : deadline - this.#clock.now();
    return remaining > 0 ? remaining : undefined;
  }

  /**
   * Stores the value, which becomes the most recently used one. Its TTL starts now, also when it replaces another.
   *
   * @param ttl milliseconds to live, above 0; `Infinity`: for ever; left out or 0: `defaultTtlMs`. Or `{ ttlMs, sizeBytes }`
   * @returns false if it was not stored, since it alone is larger than `maxBytes`; the old value is gone then, too
   * @throws {CacheTtlError} {CacheSizeError} {CacheConfigError} before anything is changed
   */
  set(key: K, value: V, ttl?: number | SetOptions): boolean {
    if (ttl === undefined) return this.#store(key, value, this.#defaultTtlMs, undefined);
    if (typeof ttl !== "object" || ttl === null || Array.isArray(ttl))
      return this.#store(key, value, this.#checkTtl(ttl), undefined);
    checkCallOptions(`${this.#label}: set()`, ttl, ["ttlMs", "sizeBytes"]);
    return this.#store(key, value, this.#checkTtl(ttl.ttlMs), ttl.sizeBytes);
  }

  /** Removes the entry; false if there was no live one. A load that runs for the key will not store its value. */
  delete(key: K): boolean {
    this.#loads.fence(key);
    const slot = this.#entries.find(key);
    if (slot === 0) return false;
    const live = !this.#isExpired(slot);
    this.#remove(slot, live ? "deleted" : "expired");
    this.#listener?.deliver();
    return live;
  }

  /**
   * Removes all entries, for `onEvict` in order of use, the least recent first, after those that have expired. The
   * statistics stay.
   */
  clear(): void {
    this.#loads.fenceAll();
    this.#sweep(Infinity);
    const entries = this.#entries;
    this.#counters.left.cleared += entries.count;
    if (this.#listener !== undefined) {
      for (const slot of this.#entries.slots().toReversed())
        this.#listener.add(entries.key(slot), entries.value(slot), "cleared");
    }
    entries.clear();
    this.#listener?.deliver();
  }

  /** Changes the capacity. What is too much leaves at once, as "capacity". @throws {CacheConfigError} */
  resize(capacity: number): void {
    this.#capacity = checkCapacity(this.#label, capacity);
    const now = this.#clock.now();
    while (this.#entries.count > capacity) this.#evict(now, "capacity");
    this.#listener?.deliver();
  }

  /** Takes all expired entries out, and returns how many they were. */
  cleanupExpired(): number {
    const before = this.#counters.left.expired;
    this.#sweep(Infinity);
    const removed = this.#counters.left.expired - before;
    this.#listener?.deliver();
    return removed;
  }

  /**
   * The value of the key; if there is none, what `loader` gives, which is stored. While a load runs, other callers for
   * the key wait for it instead of starting their own, and share its value or its error (which is not stored).
   *
   * After a `set`, `delete` or `clear` of the key, those who already wait still get the value of their load, but it is
   * not stored, and callers from then on start a new load or find what was set.
   *
   * The options of the caller that starts the load decide. A loader must not wait for its own key.
   *
   * @returns rejects with what the loader threw, with the reason of this caller's `signal`, or with what `set` throws
   */
  async getOrLoad(
    key: K,
    loader: (context: LoadContext<K>) => V | Promise<V>,
    options: LoadOptions<K, V> = {},
  ): Promise<V> {
    checkLoad(this.#label, loader, options);
    const { ttlMs, sizeBytes, signal } = options;
    signal?.throwIfAborted();

    const slot = --this.#getsUntilTimed === 0 ? this.#timedUse(key) : this.#use(key);
    if (slot !== 0) return this.#entries.value(slot);

    const joined = this.#loads.join(key, signal);
    if (joined !== undefined) {
      this.#counters.loadsDeduplicated++;
      return joined;
    }
    const keep = (value: V): void => {
      if (typeof ttlMs !== "function") {
        this.#store(key, value, this.#checkTtl(ttlMs), sizeBytes);
        return;
      }
      const computed = ttlMs(value, key);
      // A value that says "I have expired already" must not get the default TTL, nor fail its callers.
      if (computed === undefined || !(computed <= 0)) this.#store(key, value, this.#checkTtl(computed), sizeBytes);
    };
    return this.#loads.start(key, loader, keep, signal);
  }

  /**
   * The live entries, most recently used first. Iterating does not change the order, and the cache may be changed
   * meanwhile: the walk covers the keys that were there when it began, skips those that have gone, and gives the value
   * that each one has when its turn comes.
   */
  *entries(): Generator<[K, V], void, undefined> {
    const keys = this.#entries.slots().map((slot) => this.#entries.key(slot));
    for (const key of keys) {
      const slot = this.#entries.find(key);
      if (slot !== 0 && !this.#isExpired(slot)) yield [key, this.#entries.value(slot)];
    }
  }

  /** As `entries`. */
  *keys(): Generator<K, void, undefined> {
    for (const [key] of this.entries()) yield key;
  }

  /** As `entries`. */
  *values(): Generator<V, void, undefined> {
    for (const [, value] of this.entries()) yield value;
  }

  [Symbol.iterator](): Generator<[K, V], void, undefined> {
    return this.entries();
  }

  /** A frozen snapshot. Takes all expired entries out first, so that none is counted; its time grows with their number. */
  getStats(): CacheStats {
    this.cleanupExpired();
    return snapshot(this.#counters, {
      entries: this.#entries.count,
      capacity: this.#capacity,
      bytes: this.#entries.isWeighing ? this.#entries.bytes : this.#entries.estimateBytes(),
      maxBytes: this.#maxBytes,
      loadsInFlight: this.#loads.running,
      callbackErrors: this.#listener?.errors ?? 0,
    });
  }

  /** Sets all counters and means back to 0. Entries stay. */
  resetStats(): void {
    this.#counters = freshCounters();
    if (this.#listener !== undefined) this.#listener.errors = 0;
  }

  /** The live entries with what is left of their TTLs, for `load` in another process or at another time. */
  dump(): CacheDump<K, V> {
    return { version: 1, takenAt: Date.now(), entries: dumpEntries(this.#entries, this.#clock.now()) };
  }

  /**
   * Sets the entries of a dump, in their order of use, and returns how many. The time since the dump was taken counts
   * against their TTLs; what has expired meanwhile, and what exceeds the capacity, is left out. An entry without a value,
   * which is what JSON makes of one that is undefined, is set to undefined.
   *
   * @param options.elapsedMs how long ago it was taken, at least 0; default: by the wall clock
   * @throws {CacheDumpError} {CacheConfigError} before anything is changed
   */
  load(dump: CacheDump<K, V>, options: { elapsedMs?: number | undefined } = {}): number {
    checkDump(this.#label, dump);
    const elapsedMs = checkElapsed(this.#label, options, dump.takenAt);
    let stored = 0;
    for (const { key, value, ttlMs, sizeBytes } of liveEntries(dump, elapsedMs, this.#capacity).toReversed()) {
      if (this.#store(key, value, ttlMs, sizeBytes)) stored++;
    }
    return stored;
  }

  /** Stops the cleanup in the background, for good. Entries and loads stay, and the cache goes on working without it. */
  close(): void {
    this.#cleanup?.stop();
  }

  /** `using cache = new LRUCache(...)`: as `close`. */
  [Symbol.dispose](): void {
    this.close();
  }

  /** The slot of a live entry, which becomes the most recently used one; else 0. Counts a hit or a miss. */
  #use(key: K): number {
    const entries = this.#entries;
    const slot = entries.find(key);
    if (slot !== 0) {
      if (!this.#isExpired(slot)) {
        this.#counters.hits++;
        entries.order.touch(slot);
        return slot;
      }
      this.#remove(slot, "expired");
    }
    this.#counters.misses++;
    this.#listener?.deliver();
    return 0;
  }

  /** Two reads of the clock cost more than a `get`, so only some are timed. */
  #timedUse(key: K): number {
    this.#getsUntilTimed = this.#timeEveryNthGet;
    const startedAt = performance.now();
    const slot = this.#use(key);
    this.#counters.timedGetsMs += performance.now() - startedAt;
    this.#counters.timedGets++;
    return slot;
  }

  #isExpired(slot: number): boolean {
    const deadline = this.#entries.deadline(slot);
    // An entry that never expires needs no clock, the dearest part of a get. By a clock that gives NaN, others expired.
    return deadline !== Infinity && !(deadline > this.#clock.now());
  }

  /** All arguments but the size are checked. */
  #store(key: K, value: V, ttlMs: number, sizeBytes: number | undefined): boolean {
    const entries = this.#entries;
    const size = this.#sizeToStore(key, value, sizeBytes);
    // Where nothing can expire, any time will do, and reading the clock is the dearest part of a set.
    const now = ttlMs === Infinity && entries.expiry.isEmpty ? 0 : checkTime(this.#label, this.#clock.now());
    const deadline = now + ttlMs;

    if (this.#loads.size > 0) this.#loads.fence(key);
    const slot = entries.find(key);
    const reason = slot !== 0 && entries.deadline(slot) <= now ? "expired" : "replaced";
    const fits = size <= this.#maxBytes;
    if (!fits) {
      this.#counters.rejectedTooLarge++;
      if (slot !== 0) this.#remove(slot, reason);
    } else {
      if (slot !== 0) {
        this.#counters.left[reason]++;
        // A value that is set again stays: it has not left, and a listener that closes it would break it.
        if (!Object.is(entries.value(slot), value)) this.#listener?.add(key, entries.value(slot), reason);
        entries.replace(slot, value, deadline, size);
      } else {
        while (entries.count >= this.#capacity) this.#evict(now, "capacity");
        entries.insert(key, value, deadline, size);
      }
      this.#counters.sets++;
      // Ends at the new entry at the latest: it is the most recently used one, and fits alone.
      while (entries.bytes > this.#maxBytes) this.#evict(now, "bytes");
      if (deadline !== Infinity) this.#cleanup?.arm();
    }
    this.#listener?.deliver();
    return fits;
  }

  /** Makes room for one: an expired entry if there is one, else the least recently used one. */
  #evict(now: number, reason: "capacity" | "bytes"): void {
    const expired = this.#entries.expiry.firstExpired(now, REPAIRS_PER_SET);
    if (expired > 0) {
      this.#remove(expired, "expired");
      return;
    }
    const victim = this.#entries.order.victim();
    // Where the search was UNDECIDED, the victim may have expired all the same.
    this.#remove(victim, this.#entries.deadline(victim) <= now ? "expired" : reason);
  }

  #remove(slot: number, reason: EvictionReason): void {
    this.#counters.left[reason]++;
    this.#listener?.add(this.#entries.key(slot), this.#entries.value(slot), reason);
    this.#entries.remove(slot);
  }

  /** Takes out expired entries, about `limit` at most; true if there may be more. */
  #sweep(limit: number): boolean {
    const { expiry } = this.#entries;
    if (expiry.isEmpty) return false;
    const now = this.#clock.now();
    const repairs = Math.min(limit, REPAIRS_PER_SET);
    for (let done = 0; done < limit; done++) {
      const slot = expiry.firstExpired(now, repairs);
      if (slot === 0) return false;
      if (slot === UNDECIDED) done += repairs;
      else this.#remove(slot, "expired");
    }
    return true;
  }

  #tick(): "more" | "later" | "nothing" {
    const more = this.#sweep(ENTRIES_PER_TICK);
    this.#listener?.deliver();
    if (more) return "more";
    return this.#entries.expiry.isEmpty ? "nothing" : "later";
  }

  /** The size to count; 0 while nothing is weighed. The first explicit size makes the cache weigh from then on. */
  #sizeToStore(key: K, value: V, explicit: number | undefined): number {
    if (explicit !== undefined) {
      const size = checkSize(this.#label, "sizeBytes", explicit);
      if (!this.#entries.isWeighing) this.#entries.startWeighing(this.#sizeOf);
      return size;
    }
    return this.#entries.isWeighing ? checkSize(this.#label, "the result of sizeOf", this.#sizeOf(value, key)) : 0;
  }

  #checkTtl(ttlMs: unknown): number {
    return checkTtl(this.#label, ttlMs, this.#defaultTtlMs);
  }
}
