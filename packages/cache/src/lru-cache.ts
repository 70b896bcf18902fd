/*
 * A bounded cache of the process: an order of use, a time for each entry, a budget of bytes, one load at a time for a key.
 *
 *   LRUCache ─► loading/   one load a key, who waits for it, what may be stored of it
 *       │          │
 *       └──────────┴────► Store   who enters, who leaves and why, how often
 *                            └──► entries/   a slot for each key: value, size
 *                                    ├──► policy/   which slot gives way
 *                                    └──► expiry/   which slot's time is over
 *
 * Rules that hold for every verb:
 * - An expired entry is never served or counted. Whatever finds it takes it out as "expired"; `peek`, `has`,
 *   `getRemainingTtlMs`, `dump` and iteration only overlook it, since they change nothing.
 * - When room is needed, expired entries go before live ones, and live ones in the order of the policy.
 * - A verb checks its arguments, and asks `sizeOf`, before it changes anything.
 * - A key that is set, deleted or cleared fences the load that runs for it.
 * - `onEvict` runs at the end of a verb, once for each value that left, never inside another `onEvict`.
 */
import { checkElapsed, checkLimits, checkSetOptions, checkSize, checkTtl } from "./arguments.ts";
import { checkDump, dumpEntries, liveEntries } from "./dump.ts";
import type { CacheDump } from "./dump.ts";
import type { EntryTable } from "./entries/entry-table.ts";
import { estimateSize } from "./estimate-size.ts";
import { Departures } from "./evictions.ts";
import { CoarseClock } from "./expiry/coarse-clock.ts";
import type { Lifetime } from "./expiry/lifetimes.ts";
import { NO_OPTIONS } from "./loading/load-options.ts";
import type { BatchLoader, Loader, LoadOptions } from "./loading/load-options.ts";
import { Loads } from "./loading/loads.ts";
import { memoize } from "./loading/memoize.ts";
import type { MemoizeOptions } from "./loading/memoize.ts";
import { checkCacheOptions } from "./options.ts";
import type { CheckedOptions, Clock, LRUCacheOptions, SetOptions } from "./options.ts";
import { freshCounters, snapshot } from "./stats.ts";
import type { CacheStats, Counters } from "./stats.ts";
import { Store } from "./store.ts";

/**
 * A bounded in-process cache. Keys are compared as a Map does it, values may be anything, `undefined` included (`has`
 * tells it from a miss). Values are stored as they are, not copied.
 */
export class LRUCache<K, V> {
  readonly name: string;
  readonly #label: string;
  readonly #options: CheckedOptions<K, V>;
  /** Exact or coarse. */
  readonly #clock: Clock;
  /** What a stored value's life has besides a TTL; undefined: nothing. */
  readonly #defaultLife: Lifetime | undefined;
  readonly #store: Store<K, V>;
  /** The store's: each look-up saves a step. */
  readonly #entries: EntryTable<K, V>;
  /** Undefined until the first load: most caches never have one. */
  #loads: Loads<K, V> | undefined;
  readonly #counters: Counters = freshCounters();
  /** How often the counters have begun anew. */
  #resets = 0;
  /** A part of `#counters.hits`, counted here since each look-up saves a step. */
  #hits = 0;
  #isNextTimed: boolean;
  /** After so many hits, or misses, the next look-up is timed. */
  #timedAfterHits = Infinity;
  #timedAfterMisses = Infinity;

  /** @throws {CacheConfigError} if an option is out of range, of the wrong type, or unknown */
  constructor(options: LRUCacheOptions<K, V> = {}) {
    const checked = checkCacheOptions(options);
    const { name, clock, clockResolutionMs, defaultTtlMs: ttlMs, idleMs, refreshAheadRatio: refreshRatio } = checked;
    this.name = name;
    this.#label = `LRUCache ${JSON.stringify(name)}`;
    this.#options = checked;
    this.#clock = clockResolutionMs === 0 ? clock : new CoarseClock(clock, clockResolutionMs);
    const staleMs = Math.max(checked.staleWhileRevalidateMs, checked.staleIfErrorMs);
    if (idleMs !== Infinity || staleMs > 0 || refreshRatio < 1) {
      this.#defaultLife = { ttlMs, idleMs, staleMs, refreshRatio };
    }
    // The first one is timed, so that a quiet cache has a figure too.
    this.#isNextTimed = checked.timeEveryNthGet > 0;
    const departures = new Departures(name, this.#label, this.#counters, checked.onEvict, checked.onError);
    this.#store = new Store<K, V>(checked, this.#label, this.#clock, this.#counters, departures);
    this.#entries = this.#store.entries;
    if (checked.maxBytes !== Infinity || checked.sizeOf !== undefined) this.#startWeighing();
  }

  /** The most entries it holds; `resize` changes it. */
  get capacity(): number {
    return this.#store.capacity;
  }

  /** The most bytes that its values take together; `Infinity`: no limit. `resize` changes it. */
  get maxBytes(): number {
    return this.#store.maxBytes;
  }

  /** How many entries have not expired, those that are kept for loads included. Takes expired ones out, to a bound. */
  get size(): number {
    const { live } = this.#store.census();
    this.#store.deliver();
    return live;
  }

  /** The value, which becomes the most recently used one; undefined if there is none (`has` tells, if that is a value). */
  get(key: K): V | undefined {
    const slot = this.#use(key);
    return slot === 0 ? undefined : this.#entries.values[slot];
  }

  /** As `get`, but changes nothing: neither the order of use nor the statistics. */
  peek(key: K): V | undefined {
    const slot = this.#store.look(key);
    return slot === 0 ? undefined : this.#entries.values[slot];
  }

  /** Whether a live entry has this key. Changes nothing. */
  has(key: K): boolean {
    return this.#store.look(key) !== 0;
  }

  /** The milliseconds that the entry has left if nobody uses it: above 0, `Infinity` if it never expires, undefined if there is none. */
  getRemainingTtlMs(key: K): number | undefined {
    const { entries } = this.#store;
    const slot = entries.find(key);
    if (slot === 0) return undefined;
    const freshUntil = entries.lifetimes?.freshUntil[slot] ?? Infinity;
    const remaining = freshUntil === Infinity ? Infinity : freshUntil - this.#clock.now();
    return remaining > 0 ? remaining : undefined;
  }

  /**
   * Stores the value, which becomes the most recently used one. Its TTL starts now, also when it replaces another.
   *
   * @param ttl milliseconds to live, above 0; `Infinity`: for ever; left out or 0: `defaultTtlMs`. Or `SetOptions`
   * @returns false if it was not stored, since it alone is larger than `maxBytes`; the old value is gone then, too
   * @throws {CacheTtlError} {CacheSizeError} {CacheConfigError} before anything is changed
   */
  set(key: K, value: V, ttl?: number | SetOptions): boolean {
    if (typeof ttl !== "object" || ttl === null || Array.isArray(ttl)) {
      const ttlMs = ttl === undefined ? this.#options.defaultTtlMs : this.#checkTtl(ttl);
      return this.#put(key, value, undefined, ttlMs, this.#defaultLife, this.#options.ttlJitter);
    }
    checkSetOptions(this.#label, ttl);
    const { sizeBytes, idleMs, ttlJitter } = ttl;
    let life = this.#defaultLife;
    if (idleMs !== undefined) life = { ttlMs: 0, staleMs: 0, refreshRatio: 1, ...life, idleMs };
    return this.#put(key, value, sizeBytes, this.#checkTtl(ttl.ttlMs), life, ttlJitter ?? this.#options.ttlJitter);
  }

  /** Removes the entry; false if there was no live one. A load that runs for the key will not store its value. */
  delete(key: K): boolean {
    this.#loads?.fence(key);
    const deleted = this.#store.delete(key);
    this.#store.deliver();
    return deleted;
  }

  /** Removes all entries, for `onEvict` in the order in which they would have been evicted. The statistics stay. */
  clear(): void {
    this.#loads?.fenceAll();
    this.#store.clear();
    this.#store.deliver();
  }

  /**
   * Changes the capacity, or what is given of `{ capacity, maxBytes }`. What is too much leaves at once, as "capacity" or
   * "bytes". @throws {CacheConfigError} {CacheSizeError} before anything is changed
   */
  resize(limits: number | { capacity?: number | undefined; maxBytes?: number | undefined }): void {
    const store = this.#store;
    const { capacity, maxBytes } = checkLimits(this.#label, limits, store);
    if (maxBytes !== Infinity) this.#startWeighing();
    store.capacity = capacity;
    store.maxBytes = maxBytes;
    store.enforceLimits();
    store.deliver();
  }

  /** Takes all expired entries out, and returns how many they were. Its time grows with their number. */
  cleanupExpired(): number {
    const before = this.#counters.expired;
    this.#store.sweep(Infinity);
    const removed = this.#counters.expired - before;
    this.#store.deliver();
    return removed;
  }

  /**
   * The value of the key; if there is none, what `loader` gives, which is stored. While a load runs, other callers for
   * the key wait for it instead of starting their own, and share its value or its error.
   *
   * After a `set`, `delete` or `clear` of the key, those who already wait still get the value of their load, but it is
   * not stored, and callers from then on start a new load or find what was set.
   *
   * The options of the caller that starts the load decide. A loader must not wait for its own key.
   *
   * @returns rejects with what the loader threw, with the reason of this caller's `signal`, or with what `set` throws
   */
  getOrLoad(key: K, loader: Loader<K, V>, options: LoadOptions<K, V> = NO_OPTIONS): Promise<V> {
    return this.#loading().get(key, loader, options);
  }

  /**
   * The values of the keys, in their order, from one call of `loader` for all that are missing and not being loaded. The
   * result has no entry for a key that the loader has no value for, and nothing is stored for it, unless `negativeTtlMs`
   * says for how long it is `undefined`.
   *
   * @returns rejects as `getOrLoad` does, if any of the keys does
   */
  getManyOrLoad(
    keys: Iterable<K>,
    loader: BatchLoader<K, V>,
    options: LoadOptions<K, V> = NO_OPTIONS,
  ): Promise<Map<K, V>> {
    return this.#loading().getMany(keys, loader, options);
  }

  /**
   * The function with this cache before it: what it gave for a key is given again, by the rules of `getOrLoad`.
   *
   * @param options.key the key of a call; default: its only argument
   */
  memoize<A extends unknown[]>(
    fn: (...args: A) => V | Promise<V>,
    options: MemoizeOptions<K, V, A> = {},
  ): (...args: A) => Promise<V> {
    return memoize(this, this.#label, fn, options);
  }

  /**
   * The live entries, those first that would be kept the longest; with the policy "lru": the most recently used ones.
   * Iterating does not change the order, and the cache may be changed meanwhile: the walk covers the keys that were there
   * when it began, skips those that have gone, and gives the value that each one has when its turn comes.
   */
  *entries(): Generator<[K, V], void, undefined> {
    yield* this.#walk(this.#entries.slots());
  }

  /** As `entries`, the other way round: those first that would go next. */
  *entriesReversed(): Generator<[K, V], void, undefined> {
    yield* this.#walk(this.#entries.slots().toReversed());
  }

  /** As `entries`. */
  *keys(): Generator<K, void, undefined> {
    for (const [key] of this.entries()) yield key;
  }

  /** As `entriesReversed`. */
  *keysReversed(): Generator<K, void, undefined> {
    for (const [key] of this.entriesReversed()) yield key;
  }

  /** As `entries`. */
  *values(): Generator<V, void, undefined> {
    for (const [, value] of this.entries()) yield value;
  }

  /** As `entriesReversed`. */
  *valuesReversed(): Generator<V, void, undefined> {
    for (const [, value] of this.entriesReversed()) yield value;
  }

  /** As `entries`, with a Map's arguments. */
  forEach(callback: (value: V, key: K, cache: this) => void): void {
    for (const [key, value] of this.entries()) callback(value, key, this);
  }

  [Symbol.iterator](): Generator<[K, V], void, undefined> {
    return this.entries();
  }

  /** A frozen snapshot. Takes expired entries out, to a bound; those that are left are not counted as entries either. */
  getStats(): CacheStats {
    const store = this.#store;
    const { live, bytes, passed } = store.census();
    const counters = this.#counters;
    const now = { ...counters, hits: counters.hits + this.#hits, expired: counters.expired + passed };
    const stats = snapshot(
      now,
      { cache: counters, resets: this.#resets },
      {
        entries: live,
        capacity: store.capacity,
        bytes: store.entries.isWeighing ? bytes : store.entries.estimateBytes(),
        maxBytes: store.maxBytes,
        loadsInFlight: this.#loads?.running ?? 0,
      },
    );
    // Last: what is told of the departures may change the cache.
    store.deliver();
    return stats;
  }

  /** Sets all counters and means back to 0. Entries stay. */
  resetStats(): void {
    Object.assign(this.#counters, freshCounters());
    this.#resets++;
    this.#hits = 0;
    this.#timedAfterHits = this.#timedAfterMisses = this.#options.timeEveryNthGet || Infinity;
  }

  /** The live entries with what is left of their times, for `load` in another process or at another time. */
  dump(): CacheDump<K, V> {
    return { version: 1, takenAt: Date.now(), entries: dumpEntries(this.#entries, this.#clock.now()) };
  }

  /**
   * Sets the entries of a dump, in their order of use, and returns how many. The time since the dump was taken counts
   * against their times; what has expired meanwhile, and what exceeds the capacity, is left out. An entry without a value,
   * which is what JSON makes of one that is undefined, is set to undefined.
   *
   * @param options.elapsedMs how long ago it was taken, at least 0; default: by the wall clock
   * @throws {CacheDumpError} {CacheConfigError} before anything is changed
   */
  load(dump: CacheDump<K, V>, options: { elapsedMs?: number | undefined } = {}): number {
    checkDump(this.#label, dump);
    const elapsedMs = checkElapsed(this.#label, options, dump.takenAt);
    let stored = 0;
    const { staleMs, refreshRatio } = this.#defaultLife ?? { staleMs: 0, refreshRatio: 1 };
    for (const { key, value, ttlMs, idleMs, sizeBytes } of liveEntries(dump, elapsedMs, this.capacity).toReversed()) {
      const isPlain = idleMs === Infinity && this.#defaultLife === undefined;
      const life = isPlain ? undefined : { ttlMs, idleMs, staleMs, refreshRatio };
      if (this.#put(key, value, sizeBytes, ttlMs, life, 0)) stored++;
    }
    return stored;
  }

  /** Stops what runs in the background: the cleanup, and loads that nobody waits for. Entries stay, and the cache goes on working. */
  close(): void {
    this.#store.stopCleanup();
    if (this.#clock instanceof CoarseClock) this.#clock.stop();
    this.#loads?.stop();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** The slot of a live entry, which is used and counted as a hit; 0 for a miss. Every look-up comes by here. */
  #use(key: K): number {
    if (this.#isNextTimed) return this.#timedUse(key);
    const entries = this.#entries;
    const slot = entries.find(key);
    if (slot !== 0) {
      const lifetimes = entries.lifetimes;
      // What never expires needs no clock, the dearest part of a look-up.
      if (
        lifetimes === undefined ||
        lifetimes.freshUntil[slot] === Infinity ||
        lifetimes.useInTime(slot, this.#clock.now())
      ) {
        entries.policy.touch(slot);
        if (++this.#hits >= this.#timedAfterHits) this.#isNextTimed = true;
        return slot;
      }
    }
    if (this.#counters.misses >= this.#timedAfterMisses) this.#isNextTimed = true;
    this.#store.miss(key, slot);
    return 0;
  }

  /** Two reads of the clock cost more than a look-up, so only one is timed after so many hits, or so many misses. */
  #timedUse(key: K): number {
    this.#isNextTimed = false;
    this.#timedAfterHits = this.#hits + this.#options.timeEveryNthGet;
    this.#timedAfterMisses = this.#counters.misses + this.#options.timeEveryNthGet;
    const startedAt = performance.now();
    const slot = this.#use(key);
    this.#counters.timedGetsMs += performance.now() - startedAt;
    this.#counters.timedGets++;
    return slot;
  }

  #loading(): Loads<K, V> {
    const { name, clock, defaultTtlMs } = this.#options;
    return (this.#loads ??= new Loads<K, V>({
      name,
      label: this.#label,
      clock,
      store: this.#store,
      counters: this.#counters,
      defaultTtlMs,
      defaults: this.#options,
      use: (key) => this.#use(key),
      put: (key, value, sizeBytes, life, jitter) => void this.#put(key, value, sizeBytes, life.ttlMs, life, jitter),
      drop: (key) => {
        this.#store.dropObsolete(key);
        this.#store.deliver();
      },
    }));
  }

  /** All arguments but the size are checked. */
  #put(
    key: K,
    value: V,
    sizeBytes: number | undefined,
    ttlMs: number,
    life: Lifetime | undefined,
    ttlJitter: number,
  ): boolean {
    const size = this.#sizeToStore(key, value, sizeBytes);
    const livesMs = ttlJitter === 0 ? ttlMs : ttlMs * (1 - ttlJitter * this.#options.random());
    const stored = this.#store.put(
      key,
      value,
      size,
      livesMs,
      life === undefined || life.ttlMs === livesMs ? life : { ...life, ttlMs: livesMs },
    );
    this.#loads?.fence(key);
    this.#store.deliver();
    return stored;
  }

  /** The size to count; 0 while nothing is weighed. The first explicit size makes the cache weigh from then on. */
  #sizeToStore(key: K, value: V, explicit: number | undefined): number {
    if (explicit !== undefined) {
      const size = checkSize(this.#label, "sizeBytes", explicit);
      this.#startWeighing();
      return size;
    }
    return this.#entries.isWeighing ? this.#weigh(value, key) : 0;
  }

  #weigh(value: V, key: K): number {
    const { sizeOf = estimateSize } = this.#options;
    return checkSize(this.#label, "the result of sizeOf", sizeOf(value, key));
  }

  #startWeighing(): void {
    const { entries } = this.#store;
    if (!entries.isWeighing) entries.startWeighing((value, key) => this.#weigh(value, key));
  }

  #checkTtl(ttlMs: unknown): number {
    return checkTtl(this.#label, ttlMs, this.#options.defaultTtlMs);
  }

  *#walk(slots: readonly number[]): Generator<[K, V], void, undefined> {
    const { entries } = this.#store;
    const keys = slots.map((slot) => entries.key(slot));
    for (const key of keys) {
      const slot = this.#store.look(key);
      if (slot !== 0) yield [key, entries.value(slot)];
    }
  }
}
