import { WHOLE_CHILDREN, WHOLE_OBJECTS, estimateWithin } from "../estimate-size.ts";
import { Lifetimes } from "../expiry/lifetimes.ts";
import type { EvictionPolicy } from "../policy/eviction-policy.ts";
import { makeKeyIndex, needsRebuilding } from "./key-index.ts";
import type { KeyIndex } from "./key-index.ts";
import { FIRST_SLOT } from "./slot-array.ts";

/** Room for so many slots comes with the first entry. */
const FIRST_ROOM = 64;
/** The key of a slot that is free; `undefined` is a key like any other. */
const FREE = Symbol("free");
/** How many entries stand for all in an estimate of the bytes. */
const SAMPLE = 256;
/** With fewer than one slot in so many in use, a sample spread over the slots would hit too few entries. */
const SPARSE = 16;

/**
 * The entries, one slot each: key and value in plain arrays; order, times and sizes in typed arrays of the same index.
 * It holds what it is told to hold, at the cost of an empty cache when it is empty; what leaves, and why, is the store's
 * to decide.
 *
 * Invariants between two calls: `index`, `policy` and the slots in use are the same set, `count` its size; `bytes` is the
 * sum of the sizes of these slots (0 while nothing is weighed); a free slot holds no key, no value, no time. Slots below
 * FIRST_SLOT are never used, so 0 can mean "none".
 */
export class EntryTable<K, V> {
  readonly policy: EvictionPolicy;
  /** Undefined until an entry has a deadline: a cache without any neither pays for times nor reads the clock. */
  lifetimes: Lifetimes | undefined;
  /** All that are held, expired or not. */
  count = 0;
  bytes = 0;
  /** By slot. Public since every look-up reads it. */
  values: (V | undefined)[] = [];

  #index: KeyIndex<K>;
  #expected: number;
  #keys: (K | typeof FREE)[] = [];
  /** Bytes by slot, in 32 bits while all fit; undefined until somebody weighs. */
  #sizes: Uint32Array<ArrayBuffer> | Float64Array<ArrayBuffer> | undefined;
  /** Slots that were used and are free again. */
  #free: number[] = [];
  /** Slots below this have been used; the arrays have room for `#slots`. */
  #used = FIRST_SLOT;
  #slots = 0;
  /** Slots for so many entries are enough. */
  #capacity: number;
  readonly #wide: boolean;

  /**
   * @param expected about how many entries there will be at most
   * @param capacity how many there will be at most; memory grows up to it and no further
   * @param wide whether slots will need more than 16 bits
   */
  constructor(policy: EvictionPolicy, expected: number, capacity: number, wide: boolean) {
    this.policy = policy;
    this.#index = makeKeyIndex<K>(expected);
    this.#expected = expected;
    this.#capacity = capacity;
    this.#wide = wide;
  }

  /** Other limits. From few entries to many, all keys move once. */
  resize(expected: number, capacity: number): void {
    this.#expected = expected;
    this.#capacity = capacity;
    this.#spreadKeys(expected);
  }

  #spreadKeys(expected: number): void {
    if (!needsRebuilding(this.#index, expected)) return;
    const old = this.#index as Map<K, number>;
    this.#index = makeKeyIndex<K>(expected);
    for (const [key, slot] of old) this.#index.set(key, slot);
  }

  /** The key's slot, expired or not; 0 when it has none. */
  find(key: K): number {
    return this.#index.get(key) ?? 0;
  }

  key(slot: number): K {
    return this.#keys[slot] as K;
  }

  value(slot: number): V {
    return this.values[slot]!;
  }

  size(slot: number): number {
    return this.#sizes === undefined ? 0 : this.#sizes[slot]!;
  }

  get sizes(): ArrayLike<number> | undefined {
    return this.#sizes;
  }

  /** A new entry, without a deadline yet. */
  insert(key: K, value: V, size: number): number {
    const slot = this.#free.length > 0 ? this.#free.pop()! : this.#unusedSlot();
    this.#index.set(key, slot);
    this.#keys[slot] = key;
    this.values[slot] = value;
    this.policy.insert(slot, key);
    if (this.#sizes !== undefined) this.weigh(slot, size);
    this.count++;
    return slot;
  }

  /** A new value for the slot's key, which is used by that. Its times stay. */
  update(slot: number, value: V, size: number): void {
    this.values[slot] = value;
    if (this.#sizes !== undefined) this.weigh(slot, size);
    this.policy.touch(slot);
  }

  /** A new entry in the place of one that leaves, which saves most of the way out and in again. Its times stay. */
  replace(slot: number, key: K, value: V, size: number): void {
    const index = this.#index;
    index.delete(this.#keys[slot] as K);
    index.set(key, slot);
    this.#keys[slot] = key;
    this.values[slot] = value;
    this.policy.reuse(slot, key);
    if (this.#sizes !== undefined) this.weigh(slot, size);
  }

  remove(slot: number): void {
    this.#index.delete(this.key(slot));
    this.#keys[slot] = FREE;
    this.values[slot] = undefined;
    this.policy.remove(slot);
    this.lifetimes?.end(slot);
    if (this.#sizes !== undefined) this.weigh(slot, 0);
    this.#free.push(slot);
    // Sums beyond 2^53 are not exact; at least an empty table must not be thought to hold something.
    if (--this.count === 0) this.bytes = 0;
  }

  /** Drops everything, the memory of the arrays included. */
  clear(): void {
    this.#index = makeKeyIndex<K>(this.#expected);
    this.#keys = [];
    this.values = [];
    this.policy.reset();
    this.lifetimes = undefined;
    if (this.#sizes !== undefined) this.#sizes = new Uint32Array(0);
    this.#free = [];
    this.#used = FIRST_SLOT;
    this.#slots = 0;
    this.count = 0;
    this.bytes = 0;
  }

  /** The times of the entries, from the first one on that has any. */
  startTiming(): Lifetimes {
    return (this.lifetimes ??= new Lifetimes(this.#slots, this.#wide));
  }

  /** Keeps sizes from now on; `sizeOf` gives those of the entries that are here already. */
  startWeighing(sizeOf: (value: V, key: K) => number): void {
    // All sizes first: sizeOf is the user's, and may throw.
    const slots = this.slots();
    const sizes = slots.map((slot) => sizeOf(this.value(slot), this.key(slot)));
    this.#sizes = new Uint32Array(this.#slots);
    for (const [i, slot] of slots.entries()) this.weigh(slot, sizes[i]!);
  }

  get isWeighing(): boolean {
    return this.#sizes !== undefined;
  }

  /** While it is weighing: the size of the slot's entry is now this. */
  weigh(slot: number, size: number): void {
    let sizes = this.#sizes!;
    if (size > 0xffff_ffff && sizes instanceof Uint32Array) sizes = this.#sizes = Float64Array.from(sizes);
    this.bytes += size - sizes[slot]!;
    sizes[slot] = size;
  }

  /** All slots in use, those first that would be kept the longest. */
  slots(): number[] {
    return this.policy.slots(Infinity);
  }

  /**
   * The bytes of all values, which nobody has weighed, extrapolated from a sample of them: all if they are few, else
   * those at places evenly spread over the slots (a walk to places in the order of use would cost as much as a walk
   * through all). Where so many entries have left that this would meet next to none, the most recently used ones stand
   * for all. The sample shares what `estimateSize` may look at in one value, so that this takes no longer than that.
   */
  estimateBytes(): number {
    const few = this.count <= SAMPLE || this.#used > SPARSE * this.count;
    const sample = few ? this.policy.slots(SAMPLE) : this.#spread(SAMPLE);
    if (sample.length === 0) return 0;
    const [objects, children] = [WHOLE_OBJECTS / sample.length, WHOLE_CHILDREN / sample.length];
    let bytes = 0;
    for (const slot of sample) bytes += estimateWithin(this.value(slot), objects, children);
    return (bytes / sample.length) * this.count;
  }

  /** Slots in use at `places` places with the same distance. */
  #spread(places: number): number[] {
    const distance = (this.#used - FIRST_SLOT) / places;
    return Array.from({ length: places }, (_, i) => FIRST_SLOT + Math.floor(i * distance)).filter(
      (slot) => this.#keys[slot] !== FREE,
    );
  }

  #unusedSlot(): number {
    if (this.#used >= this.#slots) this.#grow();
    return this.#used++;
  }

  /** Twice the room, but no more than can ever be needed. */
  #grow(): void {
    const needed = this.#used + 1;
    // A limit of bytes says little about how many entries there will be.
    this.#spreadKeys(needed);
    const slots = Math.max(needed, Math.min(FIRST_SLOT + this.#capacity, Math.max(FIRST_ROOM, this.#slots * 2)));
    this.#keys = growArray(this.#keys, slots, FREE);
    this.values = growArray(this.values, slots, undefined);
    this.policy.grow(slots);
    this.lifetimes?.grow(slots);
    if (this.#sizes !== undefined) {
      const sizes = this.#sizes instanceof Uint32Array ? new Uint32Array(slots) : new Float64Array(slots);
      sizes.set(this.#sizes);
      this.#sizes = sizes;
    }
    this.#slots = slots;
  }
}

/** From so many places on, an array that is made at once becomes a slow hash table in V8. */
const LONGEST_AT_ONCE = 2 ** 25;

/** A copy with exactly `length` places: `push` would leave room for half as many again. */
function growArray<T>(array: readonly T[], length: number, filler: T): T[] {
  const grown: T[] = [];
  // An empty array gets what it is told to; one that holds something, half as much again.
  if (length <= LONGEST_AT_ONCE) grown.length = length;
  for (let i = 0; i < length; i++) grown[i] = i < array.length ? array[i]! : filler;
  return grown;
}
