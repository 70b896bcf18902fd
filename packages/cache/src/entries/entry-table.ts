import { DeadlineHeap } from "../expiry/deadline-heap.ts";
import { RecencyList } from "../policy/recency-list.ts";

const FIRST_SLOTS = 64;

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
  #keys: (K | undefined)[] = [undefined];
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
    return this.#keys[slot]!;
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
    this.#index.delete(this.#keys[slot]!);
    this.#keys[slot] = undefined;
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
    this.#keys = [undefined];
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
    const slots: number[] = [];
    for (let slot = this.order.after(0); slot !== 0; slot = this.order.after(slot)) slots.push(slot);
    return slots;
  }

  /** The bytes of all values, from up to `limit` of them, evenly spread over the order of use. */
  estimateBytes(sizeOf: (value: V) => number, limit: number): number {
    const step = Math.ceil(this.count / limit);
    let bytes = 0;
    let sampled = 0;
    let untilNext = 0;
    for (let slot = this.order.after(0); slot !== 0; slot = this.order.after(slot)) {
      if (untilNext-- > 0) continue;
      untilNext = step - 1;
      bytes += sizeOf(this.value(slot));
      sampled++;
    }
    return sampled === 0 ? 0 : (bytes / sampled) * this.count;
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
