import { WHOLE_CHILDREN, WHOLE_OBJECTS, estimateWithin } from "../estimate-size.ts";
import { DeadlineHeap } from "../expiry/deadline-heap.ts";
import { RecencyList } from "../policy/recency-list.ts";

const FIRST_SLOTS = 64;
/** The key of a slot that was used and is free again; `undefined` is a key like any other. */
const FREE = Symbol("free");
/** How many entries stand for all in an estimate of the bytes. */
const SAMPLE = 1024;
/** With fewer than one slot in so many in use, a sample spread over the slots would hit too few entries. */
const SPARSE = 16;

/**
 * The entries, one slot each: key and value in plain arrays; links, deadlines and sizes in typed arrays of the same
 * index. It holds what it is told to hold, at the cost of an empty cache when it is empty; what leaves, and why, is
 * LRUCache's to decide.
 *
 * Invariants between two calls: `index`, the ring of `order` and the slots in use are the same set, `count` its size;
 * `bytes` is the sum of the sizes of these slots (0 while nothing is weighed); a free slot holds no key, no value, no
 * deadline. Slot 0 is never used, so 0 can mean "none".
 */
export class EntryTable<K, V> {
  readonly order: RecencyList = new RecencyList();
  readonly expiry: DeadlineHeap = new DeadlineHeap();
  /** Live and expired entries together. */
  count = 0;
  bytes = 0;

  readonly #index = new Map<K, number>();
  #keys: (K | typeof FREE)[] = [FREE];
  #values: (V | undefined)[] = [undefined];
  /** Bytes by slot; undefined until somebody weighs. */
  #sizes: Float64Array | undefined;
  /** Slots that were used and are free again. */
  #free: number[] = [];
  /** Slots below this have been used; the arrays have room for `#slots`. */
  #used = 1;
  #slots = 1;

  /** The key's slot, expired or not; 0 when it has none. */
  find(key: K): number {
    return this.#index.get(key) ?? 0;
  }

  key(slot: number): K {
    return this.#keys[slot] as K;
  }

  value(slot: number): V {
    return this.#values[slot]!;
  }

  size(slot: number): number {
    return this.#sizes === undefined ? 0 : this.#sizes[slot]!;
  }

  deadline(slot: number): number {
    return this.expiry.deadlines[slot]!;
  }

  insert(key: K, value: V, deadline: number, size: number): void {
    const slot = this.#free.pop() ?? this.#unusedSlot();
    this.#index.set(key, slot);
    this.#keys[slot] = key;
    this.#values[slot] = value;
    this.order.insert(slot);
    this.expiry.set(slot, deadline);
    this.#weigh(slot, size);
    this.count++;
  }

  /** A new value for the slot's key, which becomes the most recently used one. */
  replace(slot: number, value: V, deadline: number, size: number): void {
    this.#values[slot] = value;
    this.order.touch(slot);
    this.expiry.set(slot, deadline);
    this.#weigh(slot, size);
  }

  remove(slot: number): void {
    this.#index.delete(this.key(slot));
    this.#keys[slot] = FREE;
    this.#values[slot] = undefined;
    this.order.remove(slot);
    this.expiry.remove(slot);
    this.#weigh(slot, 0);
    this.#free.push(slot);
    this.count--;
  }

  /** Drops everything, the memory of the arrays included. */
  clear(): void {
    this.#index.clear();
    this.#keys = [FREE];
    this.#values = [undefined];
    this.order.reset();
    this.expiry.reset();
    if (this.#sizes !== undefined) this.#sizes = new Float64Array(1);
    this.#free = [];
    this.#used = 1;
    this.#slots = 1;
    this.count = 0;
    this.bytes = 0;
  }

  /** Keeps sizes from now on; `sizeOf` gives those of the entries that are here already. */
  startWeighing(sizeOf: (value: V, key: K) => number): void {
    // All sizes first: sizeOf is the user's, and may throw.
    const sizes = new Float64Array(this.#slots);
    let bytes = 0;
    for (let slot = this.order.after(0); slot !== 0; slot = this.order.after(slot)) {
      sizes[slot] = sizeOf(this.value(slot), this.key(slot));
      bytes += sizes[slot]!;
    }
    this.#sizes = sizes;
    this.bytes = bytes;
  }

  get isWeighing(): boolean {
    return this.#sizes !== undefined;
  }

  /** All slots in use, the most recently used first. */
  slots(): number[] {
    return this.#mostRecent(this.count);
  }

  /**
   * The bytes of all values, which nobody has weighed, extrapolated from a sample of them: all if they are few, else
   * those at places evenly spread over the slots (a walk to places in the order of use would cost as much as a walk
   * through all). Where so many entries have left that this would meet next to none, the most recently used ones stand
   * for all. The sample shares what `estimateSize` may look at in one value, so that this takes no longer than that.
   */
  estimateBytes(): number {
    const few = this.count <= SAMPLE || this.#used > SPARSE * this.count;
    const sample = few ? this.#mostRecent(SAMPLE) : this.#spread(SAMPLE);
    if (sample.length === 0) return 0;
    const [objects, children] = [WHOLE_OBJECTS / sample.length, WHOLE_CHILDREN / sample.length];
    let bytes = 0;
    for (const slot of sample) bytes += estimateWithin(this.value(slot), objects, children);
    return (bytes / sample.length) * this.count;
  }

  #mostRecent(limit: number): number[] {
    const slots: number[] = [];
    for (let slot = this.order.after(0); slot !== 0 && slots.length < limit; slot = this.order.after(slot)) {
      slots.push(slot);
    }
    return slots;
  }

  /** Slots in use at `places` places with the same distance. */
  #spread(places: number): number[] {
    const distance = (this.#used - 1) / places;
    return Array.from({ length: places }, (_, i) => 1 + Math.floor(i * distance)).filter(
      (slot) => this.#keys[slot] !== FREE,
    );
  }

  #weigh(slot: number, size: number): void {
    if (this.#sizes === undefined) return;
    this.bytes += size - this.#sizes[slot]!;
    this.#sizes[slot] = size;
  }

  #unusedSlot(): number {
    if (this.#used === this.#slots) this.#grow();
    return this.#used++;
  }

  #grow(): void {
    this.#slots = Math.max(FIRST_SLOTS, this.#slots * 2);
    this.order.grow(this.#slots);
    this.expiry.grow(this.#slots);
    if (this.#sizes !== undefined) {
      const sizes = new Float64Array(this.#slots);
      sizes.set(this.#sizes);
      this.#sizes = sizes;
    }
  }
}
