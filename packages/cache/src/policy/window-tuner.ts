import { FIRST_SLOT } from "../entries/slot-array.ts";
import { AdmissionQueues } from "./admission-queues.ts";
import type { FrequencySketch } from "./frequency-sketch.ts";

/**
 * The windows to choose from, as shares of all entries: all of them, which is exact LRU; what pays where keys are used in
 * bursts as well as again and again; and what keeps scans and loops out. The first one is the choice until another one
 * has proved better.
 */
const WINDOW_SHARES = [1, 0.3, 0.01] as const;

/** A miniature of more entries than this takes every second key only from then on; of less than this, more again. */
const MOST_ENTRIES = 1024;
const LEAST_ENTRIES = 64;

/**
 * A window is better when its lead in hits is beyond chance, by three standard deviations of as many throws of a coin as
 * there were accesses on which the two differed, and above a fiftieth of the entries, which a change may cost.
 */
const DEVIATIONS = 3;
const LEAST_LEAD = 0.02;

/** What is known is worth half after so many accesses for each entry. */
const HALF_LIFE = 8;

/**
 * Finds the best share of the window by trying each of them out, on a miniature cache that stores no values and sees a
 * sample of the keys: those whose hash begins with so many zeros. From "Cache Modeling and Optimization using Miniature
 * Simulations" (Waldspurger, Saemundson, Ahmad, Park, ATC 2017).
 *
 * The miniatures of up to 1024 entries hold as many as the cache, larger ones its share by the sample. Constant time an
 * access that is in the sample, spread over the accesses; nothing for the others. Memory for at most three times 1024
 * slots, as they are used.
 */
export class WindowTuner {
  /** A key is in the sample if its hash has no bit of these. */
  mask = 0;
  readonly #queues: AdmissionQueues[];
  readonly #leads: Float64Array<ArrayBuffer> = new Float64Array(WINDOW_SHARES.length);
  readonly #differences: Float64Array<ArrayBuffer> = new Float64Array(WINDOW_SHARES.length);
  readonly #slots: Map<number, number> = new Map();
  readonly #free: number[] = [];
  #hashes: Int32Array<ArrayBuffer> = new Int32Array(0);
  /** In how many miniatures a slot is held. */
  #holders: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #unused = FIRST_SLOT;
  #bits = 0;
  #capacity = 1;
  #choice = 0;
  #accesses = 0;

  constructor(sketch: FrequencySketch, random: () => number) {
    const admission = { frequency: (slot: number) => sketch.estimate(this.#hashes[slot]! >>> 0), random };
    this.#queues = WINDOW_SHARES.map((share) => new AdmissionQueues(share, false, admission));
  }

  /** The share that is best, as far as is known. */
  get share(): number {
    return WINDOW_SHARES[this.#choice]!;
  }

  /** How many entries the cache holds. */
  hold(entries: number): void {
    if (entries >>> this.#bits > MOST_ENTRIES) this.#sample(this.#bits + 1);
    else if (this.#bits > 0 && entries >>> this.#bits < LEAST_ENTRIES) this.#sample(this.#bits - 1);
    this.#capacity = Math.max(1, entries >>> this.#bits);
  }

  /** The key with this hash, which is in the sample, is used, be it held or not. */
  access(hash: number): void {
    const queues = this.#queues;
    const slot = this.#slots.get(hash | 0) ?? this.#take(hash | 0);
    const chosenHit = queues[this.#choice]!.holds(slot);
    let same = true;
    for (let i = 0; i < queues.length; i++) {
      const miniature = queues[i]!;
      const hit = miniature.holds(slot);
      if (hit) miniature.touch(slot);
      else this.#insert(miniature, slot);
      if (hit !== chosenHit) {
        same = false;
        this.#leads[i]! += hit ? 1 : -1;
        this.#differences[i]!++;
      }
    }
    if (!same) this.#choose();
    if (++this.#accesses >= HALF_LIFE * this.#capacity) this.#age();
  }

  /** The key with this hash, which is in the sample, left the cache for another reason than want of room. */
  forget(hash: number): void {
    const slot = this.#slots.get(hash | 0);
    if (slot === undefined) return;
    for (const miniature of this.#queues) if (miniature.holds(slot)) miniature.remove(slot);
    this.#release(slot);
  }

  reset(): void {
    for (const miniature of this.#queues) miniature.reset();
    this.#leads.fill(0);
    this.#differences.fill(0);
    this.#slots.clear();
    this.#free.length = 0;
    this.#hashes = new Int32Array(0);
    this.#holders = new Uint8Array(0);
    this.#unused = FIRST_SLOT;
    this.#bits = 0;
    this.mask = 0;
    this.#capacity = 1;
    this.#choice = 0;
    this.#accesses = 0;
  }

  #insert(miniature: AdmissionQueues, slot: number): void {
    // Two, so that a miniature shrinks when the cache does.
    for (let i = 0; i < 2 && miniature.size >= this.#capacity; i++) {
      const victim = miniature.victim();
      miniature.remove(victim);
      if (--this.#holders[victim]! === 0) this.#release(victim);
    }
    miniature.insert(slot);
    this.#holders[slot]!++;
  }

  #choose(): void {
    const enough = LEAST_LEAD * this.#capacity;
    let best = this.#choice;
    let bestLead = 0;
    for (let i = 0; i < WINDOW_SHARES.length; i++) {
      const lead = this.#leads[i]!;
      if (lead > bestLead && lead > enough + DEVIATIONS * Math.sqrt(this.#differences[i]!)) {
        best = i;
        bestLead = lead;
      }
    }
    if (best !== this.#choice) {
      this.#choice = best;
      this.#leads.fill(0);
      this.#differences.fill(0);
    }
  }

  #age(): void {
    this.#accesses = 0;
    for (let i = 0; i < WINDOW_SHARES.length; i++) {
      this.#leads[i]! /= 2;
      this.#differences[i]! /= 2;
    }
  }

  /** From now on the hashes that begin with so many zeros; what is no more among them leaves. */
  #sample(bits: number): void {
    this.#bits = bits;
    this.mask = bits === 0 ? 0 : -1 << (32 - bits);
    for (const hash of this.#slots.keys()) if ((hash & this.mask) !== 0) this.forget(hash);
  }

  #take(hash: number): number {
    const slot = this.#free.pop() ?? this.#unused++;
    if (slot >= this.#hashes.length) this.#grow(Math.max(64, 2 * slot));
    this.#hashes[slot] = hash;
    this.#holders[slot] = 0;
    this.#slots.set(hash, slot);
    return slot;
  }

  #release(slot: number): void {
    this.#slots.delete(this.#hashes[slot]!);
    this.#free.push(slot);
  }

  #grow(slots: number): void {
    const hashes = new Int32Array(slots);
    hashes.set(this.#hashes);
    this.#hashes = hashes;
    const holders = new Uint8Array(slots);
    holders.set(this.#holders);
    this.#holders = holders;
    for (const miniature of this.#queues) miniature.grow(slots);
  }
}
