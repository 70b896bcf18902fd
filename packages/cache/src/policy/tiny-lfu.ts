import { AdmissionQueues } from "./admission-queues.ts";
import type { EvictionPolicy, PolicySettings } from "./eviction-policy.ts";
import { FrequencySketch } from "./frequency-sketch.ts";
import { KeyHash } from "./key-hash.ts";
import { WindowTuner } from "./window-tuner.ts";

/**
 * W-TinyLFU with a window that finds its size: anything from exact LRU, with which it begins, to a cache that admits only
 * keys which were used more often than the one to evict. What it chooses by are miniature caches (see WindowTuner) that
 * measure at all times what each size of the window would hit. See AdmissionQueues for the sources.
 *
 * Beside its queues it keeps 8 bytes of counters an entry, up to the next power of 2 and no less than 16 KB, 4 bytes of each
 * key's hash, and the miniatures.
 * Constant time a call on average: the counters are halved after 12 uses an entry, and in a cache that has shrunk after as
 * many uses as they have words; the one call that halves them passes them all.
 */
export class TinyLfuPolicy implements EvictionPolicy {
  readonly #keys: KeyHash;
  readonly #sketch: FrequencySketch = new FrequencySketch();
  readonly #queues: AdmissionQueues;
  readonly #tuner: WindowTuner;
  #hashes: Uint32Array<ArrayBuffer> = new Uint32Array(0);
  /** The last answer of `victim`: what leaves for another reason leaves the miniatures, too. */
  #victim = 0;

  constructor({ wide, random }: PolicySettings) {
    this.#keys = new KeyHash(random);
    this.#tuner = new WindowTuner(this.#sketch, random);
    const frequency = (slot: number): number => this.#sketch.estimate(this.#hashes[slot]!);
    this.#queues = new AdmissionQueues(this.#tuner.share, wide, { frequency, random });
  }

  grow(slots: number): void {
    this.#queues.grow(slots);
    this.#sketch.grow(slots);
    const hashes = new Uint32Array(slots);
    hashes.set(this.#hashes);
    this.#hashes = hashes;
  }

  insert(slot: number, key: unknown): void {
    const hash = this.#keys.of(key);
    this.#hashes[slot] = hash;
    this.#victim = 0;
    this.#queues.insert(slot);
    const held = this.#queues.size;
    this.#sketch.hold(held);
    this.#tuner.hold(held);
    this.#use(hash);
  }

  touch(slot: number): void {
    this.#queues.touch(slot);
    this.#use(this.#hashes[slot]!);
  }

  reuse(slot: number, key: unknown): void {
    this.remove(slot);
    this.insert(slot, key);
  }

  remove(slot: number): void {
    const hash = this.#hashes[slot]!;
    this.#queues.remove(slot);
    if (slot !== this.#victim && (hash & this.#tuner.mask) === 0) this.#tuner.forget(hash);
    this.#victim = 0;
  }

  victim(): number {
    return (this.#victim = this.#queues.victim());
  }

  /** Protected entries, then those of the window, then those on probation, each by recency. */
  slots(limit: number): number[] {
    const slots: number[] = [];
    this.#queues.collect(slots, limit);
    return slots;
  }

  reset(): void {
    this.#queues.reset();
    this.#sketch.reset();
    this.#tuner.reset();
    this.#queues.windowShare = this.#tuner.share;
    this.#hashes = new Uint32Array(0);
    this.#victim = 0;
  }

  #use(hash: number): void {
    this.#sketch.increment(hash);
    if ((hash & this.#tuner.mask) !== 0) return;
    this.#tuner.access(hash);
    this.#queues.windowShare = this.#tuner.share;
  }
}
