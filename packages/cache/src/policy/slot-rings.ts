import { growSlotArray } from "../entries/slot-array.ts";
import type { SlotArray } from "../entries/slot-array.ts";

/**
 * Doubly linked rings of slots, in one typed array: what is next of a slot lies beside what is before it, so that a move
 * reads one line of the processor's cache for each slot that it touches.
 *
 * An anchor, a slot below FIRST_SLOT, belongs to each ring and never holds an entry, so that no operation has a special
 * case for the ends: what is next of the anchor is the first slot, what is before it the last one; both are the anchor
 * itself when the ring is empty.
 */
export class SlotRings {
  /** Next of slot s at 2s, before it at 2s + 1. Public for the policies' fast paths. */
  links: SlotArray;
  readonly #anchors: number;
  readonly #wide: boolean;

  /** @param anchors rings are anchored in slots 0 to `anchors` - 1 */
  constructor(anchors: number, wide: boolean) {
    this.#anchors = anchors;
    this.#wide = wide;
    this.links = this.#empty();
  }

  /** Makes room for slots below `slots`; `wide`: of more than 16 bits. */
  grow(slots: number, wide: boolean): void {
    this.links = growSlotArray(this.links, 2 * slots, this.#wide || wide);
  }

  insertFirst(anchor: number, slot: number): void {
    const links = this.links;
    const first = links[2 * anchor]!;
    links[2 * slot] = first;
    links[2 * slot + 1] = anchor;
    links[2 * first + 1] = slot;
    links[2 * anchor] = slot;
  }

  /** Moves the slot from wherever it is to the front. */
  moveFirst(anchor: number, slot: number): void {
    const links = this.links;
    const first = links[2 * anchor]!;
    // What was used last is used again so often that the question pays.
    if (first === slot) return;
    const next = links[2 * slot]!;
    const before = links[2 * slot + 1]!;
    links[2 * before] = next;
    links[2 * next + 1] = before;
    links[2 * slot] = first;
    links[2 * slot + 1] = anchor;
    links[2 * first + 1] = slot;
    links[2 * anchor] = slot;
  }

  /** Takes the slot out of its ring, whichever that is. */
  remove(slot: number): void {
    const links = this.links;
    const next = links[2 * slot]!;
    const before = links[2 * slot + 1]!;
    links[2 * before] = next;
    links[2 * next + 1] = before;
  }

  first(anchor: number): number {
    return this.links[2 * anchor]!;
  }

  last(anchor: number): number {
    return this.links[2 * anchor + 1]!;
  }

  next(slot: number): number {
    return this.links[2 * slot]!;
  }

  before(slot: number): number {
    return this.links[2 * slot + 1]!;
  }

  /** Adds up to `limit` slots of the ring to `slots`, first to last. */
  collect(anchor: number, slots: number[], limit: number): void {
    for (let slot = this.first(anchor); slot !== anchor && slots.length < limit; slot = this.next(slot)) {
      slots.push(slot);
    }
  }

  reset(): void {
    this.links = this.#empty();
  }

  #empty(): SlotArray {
    const links = growSlotArray(undefined, 2 * this.#anchors, this.#wide);
    for (let anchor = 0; anchor < this.#anchors; anchor++) links.fill(anchor, 2 * anchor, 2 * anchor + 2);
    return links;
  }
}
