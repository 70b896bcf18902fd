import { checkTime } from "./arguments.ts";
import { channels } from "./diagnostics.ts";
import { EntryTable } from "./entries/entry-table.ts";
import { FIRST_SLOT, isWide } from "./entries/slot-array.ts";
import type { Departures, EvictionReason } from "./evictions.ts";
import { UNDECIDED } from "./expiry/deadline-heap.ts";
import { CleanupTimer } from "./expiry/cleanup-timer.ts";
import type { Cleanable } from "./expiry/cleanup-timer.ts";
import type { Lifetime } from "./expiry/lifetimes.ts";
import type { CheckedOptions, Clock } from "./options.ts";
import { makePolicy } from "./policy/make-policy.ts";
import { countDeparture } from "./stats.ts";
import type { Counters } from "./stats.ts";

/** How many floors of the deadline heap one `put` repairs at most while it looks for an expired entry. */
const REPAIRS_PER_PUT = 1000;
/** How many expired entries one tick of the cleanup takes out, in less than a millisecond. */
const ENTRIES_PER_TICK = 500;
/** How many expired entries somebody takes out who asks how many live ones there are. */
const ENTRIES_PER_CENSUS = 100;

/** No slot: the value is too large. */
const REFUSED = -1;

/**
 * What is in the cache: who enters, who leaves and why, and how often.
 *
 * - An entry whose time is over is never served. Whatever finds it takes it out as "expired", unless it is kept for loads.
 * - When room is needed, what has expired goes before what is live, and of that what the policy says.
 * - Every departure is counted and told to the listener once. It is delivered when somebody calls `deliver`.
 */
export class Store<K, V> implements Cleanable {
  readonly entries: EntryTable<K, V>;
  capacity: number;
  maxBytes: number;
  readonly #name: string;
  readonly #label: string;
  readonly #clock: Clock;
  readonly #counters: Counters;
  readonly #departures: Departures<K, V>;
  /** 0: there is no cleanup in the background, or none any more. */
  #cleanupIntervalMs: number;
  /** Undefined until the first entry that can expire. */
  #cleanup: CleanupTimer | undefined;

  constructor(
    options: CheckedOptions<K, V>,
    label: string,
    clock: Clock,
    counters: Counters,
    departures: Departures<K, V>,
  ) {
    const { name, capacity, maxBytes, policy, random, cleanupIntervalMs } = options;
    this.#name = name;
    this.#label = label;
    this.#clock = clock;
    this.capacity = capacity;
    this.maxBytes = maxBytes;
    this.#counters = counters;
    this.#departures = departures;
    const wide = isWide(FIRST_SLOT + capacity);
    const expected = expectedEntries(capacity, maxBytes);
    this.entries = new EntryTable(makePolicy(policy, { wide, random }), expected, capacity, wide);
    this.#cleanupIntervalMs = cleanupIntervalMs;
  }

  /** Counts a miss; the key's entry in `slot`, if it has one, is over. */
  miss(key: K, slot: number): void {
    this.#counters.misses++;
    if (slot !== 0 && this.#isPassed(slot, this.#clock.now())) {
      this.#remove(slot, "expired");
      this.deliver();
    }
    // Last: a subscriber may use the cache.
    if (channels.miss.hasSubscribers) channels.miss.publish({ cache: this.#name, key });
  }

  /** The slot of a live entry, or 0; changes nothing. */
  look(key: K): number {
    const slot = this.entries.find(key);
    return slot !== 0 && this.isLive(slot) ? slot : 0;
  }

  /** Not `freshUntil <= now`: by a clock that gives NaN, everything that can expire has. */
  isLive(slot: number): boolean {
    const { lifetimes } = this.entries;
    if (lifetimes === undefined) return true;
    const freshUntil = lifetimes.freshUntil[slot]!;
    return freshUntil === Infinity || freshUntil > this.#clock.now();
  }

  /**
   * The slot of an entry that is over, but kept for loads, and for how long it has been over; undefined if there is none.
   * Changes nothing.
   */
  lookStale(key: K): { slot: number; overMs: number } | undefined {
    const { lifetimes } = this.entries;
    const slot = lifetimes?.keepsStale === true ? this.entries.find(key) : 0;
    if (slot === 0) return undefined;
    const now = this.#clock.now();
    const overMs = now - lifetimes!.freshUntil[slot]!;
    return overMs >= 0 && lifetimes!.keptUntil(slot) > now ? { slot, overMs } : undefined;
  }

  /** A use of what `lookStale` found. */
  useStale(slot: number): void {
    this.entries.policy.touch(slot);
    this.#counters.hits++;
    this.#counters.staleHits++;
  }

  /** The time, for a deadline. @throws {CacheConfigError} */
  time(): number {
    return checkTime(this.#label, this.#clock.now());
  }

  /**
   * Stores a value of `size` bytes, with nothing but a TTL unless a `lifetime` says more. Everything is checked but
   * the clock.
   *
   * @returns false if it alone is larger than `maxBytes`; the old value is gone then, too
   * @throws {CacheConfigError} before anything is changed, if the clock gives no time
   */
  put(key: K, value: V, size: number, ttlMs: number, lifetime: Lifetime | undefined): boolean {
    const entries = this.entries;
    // Where nothing can expire, any time will do.
    const timed = ttlMs !== Infinity || lifetime !== undefined;
    const now = timed || entries.lifetimes !== undefined ? this.time() : 0;

    let slot = entries.find(key);
    if (slot !== 0 || entries.bytes + size > this.maxBytes) slot = this.#makeWay(slot, value, size, now);
    if (slot === REFUSED) return false;
    this.#counters.sets++;
    if (slot === 0) {
      if (entries.count < this.capacity) {
        slot = entries.insert(key, value, size);
      } else {
        slot = this.#giveUp(now, "capacity");
        entries.replace(slot, key, value, size);
      }
    } else {
      entries.update(slot, value, size);
    }
    if (timed) this.#startLife(slot, now, ttlMs, lifetime);
    else if (entries.lifetimes !== undefined) entries.lifetimes.startPlain(slot, Infinity);
    return true;
  }

  /** Takes the key's entry out; true if it was live. */
  delete(key: K): boolean {
    const slot = this.entries.find(key);
    if (slot === 0) return false;
    const live = this.isLive(slot);
    this.#remove(slot, live || !this.#isPassed(slot, this.#clock.now()) ? "deleted" : "expired");
    return live;
  }

  clear(): void {
    const { entries } = this;
    const { lifetimes } = entries;
    const now = lifetimes === undefined ? 0 : this.#clock.now();
    const passed = lifetimes === undefined ? 0 : lifetimes.passed(now, undefined).count;
    this.#counters.expired += passed;
    this.#counters.cleared += entries.count - passed;
    if (this.#departures.isObserved) {
      for (const slot of entries.slots().toReversed()) {
        this.#tell(slot, this.#isPassed(slot, now) ? "expired" : "cleared");
      }
    }
    entries.clear();
  }

  /** Takes out an entry that a newer value has made obsolete, which is not stored itself. */
  dropObsolete(key: K): void {
    const slot = this.entries.find(key);
    if (slot !== 0) this.#remove(slot, this.#isPassed(slot, this.#clock.now()) ? "expired" : "replaced");
  }

  /** Evicts until the limits hold. */
  enforceLimits(): void {
    const { entries } = this;
    entries.resize(expectedEntries(this.capacity, this.maxBytes), this.capacity);
    const now = this.#clock.now();
    while (entries.count > this.capacity) this.#evict(now, "capacity");
    while (entries.count > 0 && entries.bytes > this.maxBytes) this.#evict(now, "bytes");
  }

  /** Takes out expired entries, about `limit` at most; true if there may be more. */
  sweep(limit: number): boolean {
    const { lifetimes } = this.entries;
    if (lifetimes === undefined) return false;
    const now = this.#clock.now();
    const repairs = Math.min(limit, ENTRIES_PER_TICK);
    for (let done = 0; done < limit; done++) {
      const slot = lifetimes.firstPassed(now, repairs);
      if (slot === 0) return false;
      if (slot === UNDECIDED) done += repairs;
      else this.#remove(slot, "expired");
    }
    return true;
  }

  /** Ends the cleanup in the background, for good. */
  stopCleanup(): void {
    this.#cleanupIntervalMs = 0;
    this.#cleanup?.stop();
  }

  cleanUp(): { more: boolean; nextAt: number } {
    const more = this.sweep(ENTRIES_PER_TICK);
    this.deliver();
    return { more, nextAt: this.entries.lifetimes?.nextFloor ?? Infinity };
  }

  /**
   * How many entries have not expired, and their bytes (0 while nothing is weighed); how many have, but are still here.
   * Takes a bounded number of them out; of more, one pass over the memory of the deadlines tells.
   */
  census(): { live: number; bytes: number; passed: number } {
    const { entries } = this;
    const { count: passed, bytes } =
      this.sweep(ENTRIES_PER_CENSUS) && entries.lifetimes !== undefined
        ? entries.lifetimes.passed(this.#clock.now(), entries.sizes)
        : { count: 0, bytes: 0 };
    return { live: entries.count - passed, bytes: entries.bytes - bytes, passed };
  }

  deliver(): void {
    this.#departures.deliver();
  }

  /**
   * What has to happen before a value can be stored, where that is more than usual: its key has a value, or there are
   * too many bytes. Returns the slot that it may have, 0 if it needs one, or REFUSED.
   */
  #makeWay(slot: number, value: V, size: number, now: number): number {
    const { entries } = this;
    if (size > this.maxBytes) {
      this.#counters.rejectedTooLarge++;
      if (slot !== 0) this.#remove(slot, this.#isPassed(slot, now) ? "expired" : "replaced");
      return REFUSED;
    }
    if (slot !== 0) {
      const reason = this.#isPassed(slot, now) ? "expired" : "replaced";
      countDeparture(this.#counters, reason);
      // A value that is set again stays: it has not left, and a listener that closes it would break it.
      if (this.#departures.isObserved && !Object.is(entries.value(slot), value)) this.#tell(slot, reason);
      if (entries.bytes - entries.size(slot) + size <= this.maxBytes) return slot;
      // It has to find room like a newcomer, or it might be told to give way to itself.
      entries.remove(slot);
    }
    while (entries.count > 0 && entries.bytes + size > this.maxBytes) this.#evict(now, "bytes");
    return 0;
  }

  #startLife(slot: number, now: number, ttlMs: number, lifetime: Lifetime | undefined): void {
    const lifetimes = this.entries.startTiming();
    if (lifetime === undefined) lifetimes.startPlain(slot, now + ttlMs);
    else lifetimes.start(slot, now, lifetime);
    if (this.#cleanupIntervalMs === 0) return;
    this.#cleanup ??= new CleanupTimer(this.#cleanupIntervalMs, this.#clock, this);
    const keptUntil = lifetimes.keptUntil(slot);
    if (keptUntil < this.#cleanup.armBefore) this.#cleanup.arm(keptUntil);
    else if (now > this.#cleanup.overdueAt) this.#cleanup.arm(now);
  }

  #isPassed(slot: number, now: number): boolean {
    const { lifetimes } = this.entries;
    if (lifetimes === undefined) return false;
    const keptUntil = lifetimes.keptUntil(slot);
    return keptUntil !== Infinity && !(keptUntil > now);
  }

  /** Makes room. */
  #evict(now: number, reason: "capacity" | "bytes"): void {
    this.entries.remove(this.#giveUp(now, reason));
  }

  /** The slot whose entry makes room, counted and told: an expired entry if there is one, else whom the policy names. */
  #giveUp(now: number, reason: "capacity" | "bytes"): number {
    const { entries } = this;
    const { lifetimes } = entries;
    let slot = lifetimes === undefined ? 0 : lifetimes.firstPassed(now, REPAIRS_PER_PUT);
    if (slot <= 0) {
      // Where the search had to give up, the victim may have expired all the same.
      const isUndecided = slot === UNDECIDED;
      slot = entries.policy.victim();
      this.#depart(slot, isUndecided && this.#isPassed(slot, now) ? "expired" : reason);
      return slot;
    }
    this.#depart(slot, "expired");
    return slot;
  }

  #remove(slot: number, reason: EvictionReason): void {
    this.#depart(slot, reason);
    this.entries.remove(slot);
  }

  #depart(slot: number, reason: EvictionReason): void {
    countDeparture(this.#counters, reason);
    if (this.#departures.isObserved) this.#tell(slot, reason);
  }

  #tell(slot: number, reason: EvictionReason): void {
    this.#departures.add(this.entries.key(slot), this.entries.value(slot), reason);
  }
}

/** By it a limit of bytes tells about how many entries there will be. */
const TYPICAL_BYTES = 256;

function expectedEntries(capacity: number, maxBytes: number): number {
  return Math.min(capacity, maxBytes / TYPICAL_BYTES);
}
