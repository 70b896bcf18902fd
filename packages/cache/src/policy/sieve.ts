import { isWide } from "../entries/slot-array.ts";
import type { EvictionPolicy, PolicySettings } from "./eviction-policy.ts";
import { SlotRings } from "./slot-rings.ts";

/** The ring of all slots, the newest entry first. */
const QUEUE = 0;

/**
 * SIEVE: entries stand in the order in which they came, and a hand goes over them from the oldest to the newest and round
 * again. It evicts the first one that was not used since it last passed, and takes the mark of use off those it passes.
 * From "SIEVE is Simpler than LRU" (Zhang, Yang, Yue, Vigfusson, Rashmi, NSDI 2024).
 *
 * A use is one write of one byte. Each step of the hand takes off a mark that a use has set, so a step is paid for by a
 * use and `victim` takes constant time on average; a single call may pass all entries, when all were used.
 */
export class SievePolicy implements EvictionPolicy {
  readonly #rings: SlotRings;
  #used: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  /** Where the hand goes on; QUEUE: at the oldest entry. */
  #hand = QUEUE;

  constructor({ wide }: PolicySettings) {
    this.#rings = new SlotRings(1, wide);
  }

  grow(slots: number): void {
    this.#rings.grow(slots, isWide(slots));
    const used = new Uint8Array(slots);
    used.set(this.#used);
    this.#used = used;
  }

  insert(slot: number): void {
    this.#used[slot] = 0;
    this.#rings.insertFirst(QUEUE, slot);
  }

  touch(slot: number): void {
    this.#used[slot] = 1;
  }

  reuse(slot: number): void {
    this.remove(slot);
    this.insert(slot);
  }

  remove(slot: number): void {
    // What is before the newest entry is the anchor, from which the hand starts again at the oldest.
    if (slot === this.#hand) this.#hand = this.#rings.before(slot);
    this.#rings.remove(slot);
  }

  victim(): number {
    const rings = this.#rings;
    const used = this.#used;
    let slot = this.#hand === QUEUE ? rings.last(QUEUE) : this.#hand;
    if (slot === QUEUE) return 0;
    while (used[slot] === 1) {
      used[slot] = 0;
      slot = rings.before(slot);
      if (slot === QUEUE) slot = rings.last(QUEUE);
    }
    this.#hand = slot;
    return slot;
  }

  /** The reverse of the order in which `victim` would name them if nothing was used or came any more. */
  slots(limit: number): number[] {
    const rings = this.#rings;
    const used = this.#used;
    // The hand's first round evicts what is not marked, its second one the rest.
    const first: number[] = [];
    const second: number[] = [];
    const start = this.#hand === QUEUE ? rings.last(QUEUE) : this.#hand;
    let slot = start;
    if (start === QUEUE) return [];
    do {
      (used[slot] === 1 ? second : first).push(slot);
      slot = rings.before(slot);
      if (slot === QUEUE) slot = rings.last(QUEUE);
    } while (slot !== start);
    return first.concat(second).toReversed().slice(0, limit);
  }

  reset(): void {
    this.#rings.reset();
    this.#used = new Uint8Array(0);
    this.#hand = QUEUE;
  }
}
