import { isWide } from "../entries/slot-array.ts";
import type { EvictionPolicy, PolicySettings } from "./eviction-policy.ts";
import { KeyGhosts } from "./key-ghosts.ts";
import { KeyHash } from "./key-hash.ts";
import { SlotRings } from "./slot-rings.ts";

/** Rings, the newest entry first. */
const SMALL = 0;
const MAIN = 1;

/** The small queue's share of the entries. */
const SMALL_SHARE = 0.1;

/** A slot's state: how often it was used, up to 3, and whether it is in the main queue. */
const USES = 3;
const IN_MAIN = 4;

/** So often an entry of the small queue is used to get into the main queue. */
const USES_FOR_MAIN = 2;

/**
 * S3-FIFO: three first-in-first-out queues. A new entry goes through a small queue, and from there into the main one if
 * it was used more than once meanwhile; otherwise it is evicted and only its key's hash is remembered, and if the key
 * comes back soon it goes straight into the main queue. The main queue gives an entry another round for each use, 3 at
 * most. From "FIFO Queues are All You Need for Cache Eviction" (Yang, Zhang, Qiu, Yue, Rashmi, SOSP 2023).
 *
 * The small queue is due a tenth of the entries held; as many hashes are remembered as the main queue is due entries.
 * A use is one write of one byte. `victim` takes constant time on average: an entry goes from small to main once, and
 * each further round in the main queue is paid for by a use; a single call may pass all entries three times.
 */
export class S3FifoPolicy implements EvictionPolicy {
  readonly #rings: SlotRings;
  readonly #ghosts: KeyGhosts = new KeyGhosts();
  readonly #keys: KeyHash;
  #states: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #hashes: Uint32Array<ArrayBuffer> = new Uint32Array(0);
  #small = 0;
  #main = 0;
  /** The last answer of `victim`: only an entry that is evicted leaves its hash behind. */
  #victim = 0;

  constructor({ wide, random }: PolicySettings) {
    this.#rings = new SlotRings(2, wide);
    this.#keys = new KeyHash(random);
  }

  grow(slots: number): void {
    this.#rings.grow(slots, isWide(slots));
    const states = new Uint8Array(slots);
    states.set(this.#states);
    this.#states = states;
    const hashes = new Uint32Array(slots);
    hashes.set(this.#hashes);
    this.#hashes = hashes;
  }

  insert(slot: number, key: unknown): void {
    const hash = this.#keys.of(key);
    this.#hashes[slot] = hash;
    this.#victim = 0;
    if (this.#ghosts.take(hash, this.#mainDue())) {
      this.#states[slot] = IN_MAIN;
      this.#main++;
      this.#rings.insertFirst(MAIN, slot);
    } else {
      this.#states[slot] = 0;
      this.#small++;
      this.#rings.insertFirst(SMALL, slot);
    }
  }

  touch(slot: number): void {
    const state = this.#states[slot]!;
    if ((state & USES) !== USES) this.#states[slot] = state + 1;
  }

  reuse(slot: number, key: unknown): void {
    this.remove(slot);
    this.insert(slot, key);
  }

  remove(slot: number): void {
    this.#rings.remove(slot);
    if ((this.#states[slot]! & IN_MAIN) !== 0) {
      this.#main--;
    } else {
      if (slot === this.#victim) this.#ghosts.add(this.#hashes[slot]!, this.#mainDue());
      this.#small--;
    }
    this.#victim = 0;
  }

  victim(): number {
    const rings = this.#rings;
    const states = this.#states;
    const due = Math.max(1, Math.floor((this.#small + this.#main) * SMALL_SHARE));
    while (this.#small >= due || this.#main === 0) {
      const slot = rings.last(SMALL);
      // The anchor of the small queue is also the answer for "none".
      if (slot === SMALL || (states[slot]! & USES) < USES_FOR_MAIN) return (this.#victim = slot);
      rings.moveFirst(MAIN, slot);
      states[slot] = IN_MAIN;
      this.#small--;
      this.#main++;
    }
    for (;;) {
      const slot = rings.last(MAIN);
      const state = states[slot]!;
      if ((state & USES) === 0) return (this.#victim = slot);
      states[slot] = state - 1;
      rings.moveFirst(MAIN, slot);
    }
  }

  /** The main queue, then the small one, each from new to old. */
  slots(limit: number): number[] {
    const slots: number[] = [];
    this.#rings.collect(MAIN, slots, limit);
    this.#rings.collect(SMALL, slots, limit);
    return slots;
  }

  reset(): void {
    this.#rings.reset();
    this.#ghosts.reset();
    this.#states = new Uint8Array(0);
    this.#hashes = new Uint32Array(0);
    this.#small = 0;
    this.#main = 0;
    this.#victim = 0;
  }

  /** How many entries the main queue is due. */
  #mainDue(): number {
    const held = this.#small + this.#main;
    return held - Math.floor(held * SMALL_SHARE);
  }
}
