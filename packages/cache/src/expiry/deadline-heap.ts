import { growSlotArray, isWide } from "../entries/slot-array.ts";
import type { SlotArray } from "../entries/slot-array.ts";

/** What `firstPassed` answers when its allowance of repairs ran out before it knew. */
export const UNDECIDED = -1;

/**
 * The deadlines of slots, and which of them passed first.
 *
 * A binary min-heap that is lazy on purpose. The usual write moves a deadline later (a value is replaced, an idle time
 * starts anew, or a newcomer takes the slot of the evicted), and moving a node down a heap at every write is what would
 * make expiry expensive. So the heap orders slots by a *floor*, a time that their deadline is not before; a later
 * deadline leaves the floor where it is, and only a floor that has come to the top and has passed is repaired. One slot
 * has one node at most, so the heap is never larger than the cache.
 *
 * Invariants: `floor(slot) <= deadline(slot)` for every slot in the heap; a slot that has a deadline is in the heap;
 * a slot in the heap without a deadline (free, or never expiring) is dropped when it comes to the top.
 */
export class DeadlineHeap {
  /** Deadline by slot, in the clock's milliseconds; Infinity: none. Public since every look-up reads it. */
  deadlines: Float64Array<ArrayBuffer>;
  /** Where the slot is in the heap; 0: it isn't. */
  #position: SlotArray;
  /** By position, from 1: the slot and its floor. Floors lie beside one another, since a repair compares neighbours. */
  #slots: SlotArray;
  #floors: Float64Array<ArrayBuffer>;
  #size = 0;

  /** For slots below `slots`; `wide`: there will be more than 16 bits of them. */
  constructor(slots: number, wide: boolean) {
    this.deadlines = new Float64Array(slots).fill(Infinity);
    this.#position = growSlotArray(undefined, slots, wide);
    this.#slots = growSlotArray(undefined, slots, wide);
    this.#floors = new Float64Array(slots);
  }

  /** Makes room for slots below `slots`. */
  grow(slots: number): void {
    const deadlines = new Float64Array(slots);
    deadlines.set(this.deadlines);
    deadlines.fill(Infinity, this.deadlines.length);
    this.deadlines = deadlines;
    this.#position = growSlotArray(this.#position, slots, isWide(slots));
    this.#slots = growSlotArray(this.#slots, slots, isWide(slots));
    const floors = new Float64Array(slots);
    floors.set(this.#floors);
    this.#floors = floors;
  }

  /** The earliest time at which a deadline may pass; Infinity when there is none. */
  get nextFloor(): number {
    return this.#size === 0 ? Infinity : this.#floors[1]!;
  }

  /** Gives the slot a deadline, or with Infinity takes it away. O(1) unless the deadline is before the slot's floor. */
  set(slot: number, deadline: number): void {
    const old = this.deadlines[slot]!;
    this.deadlines[slot] = deadline;
    // Its floor is not after the old deadline, so not after a later one either; and most deadlines are moved later.
    if (old <= deadline || deadline === Infinity) return;
    const position = this.#position[slot]!;
    if (position === 0) this.#rise(++this.#size, slot, deadline);
    else if (deadline < this.#floors[position]!) this.#rise(position, slot, deadline);
  }

  /**
   * A slot whose deadline has passed, the earliest known first; 0 when there is none. After `repairs` floors were set
   * right without an answer it gives up with UNDECIDED, so that one call cannot take long, however many deadlines were
   * moved since the last. Every turn of its loop makes progress, whatever number (or none) the clock gives.
   */
  firstPassed(now: number, repairs: number): number {
    while (this.#size > 0) {
      if (this.#floors[1]! > now) return 0;
      const slot = this.#slots[1]!;
      const deadline = this.deadlines[slot]!;
      // Not `deadline <= now`: by a clock that gives NaN everything has passed, instead of the top being sought for ever.
      if (deadline !== Infinity && !(deadline > now)) return slot;
      if (repairs-- <= 0) return UNDECIDED;
      if (deadline === Infinity) this.#dropTop();
      else this.#sink(1, slot, deadline);
    }
    return 0;
  }

  #dropTop(): void {
    this.#position[this.#slots[1]!] = 0;
    const last = this.#size--;
    if (last === 1) return;
    this.#sink(1, this.#slots[last]!, this.#floors[last]!);
  }

  /** Puts the slot at `position` or above it. */
  #rise(position: number, slot: number, floor: number): void {
    while (position > 1) {
      const parent = position >> 1;
      if (this.#floors[parent]! <= floor) break;
      this.#place(position, this.#slots[parent]!, this.#floors[parent]!);
      position = parent;
    }
    this.#place(position, slot, floor);
  }

  /** Puts the slot at `position` or below it. */
  #sink(position: number, slot: number, floor: number): void {
    for (let child = position * 2; child <= this.#size; child = position * 2) {
      if (child < this.#size && this.#floors[child + 1]! < this.#floors[child]!) child++;
      if (this.#floors[child]! >= floor) break;
      this.#place(position, this.#slots[child]!, this.#floors[child]!);
      position = child;
    }
    this.#place(position, slot, floor);
  }

  #place(position: number, slot: number, floor: number): void {
    this.#slots[position] = slot;
    this.#floors[position] = floor;
    this.#position[slot] = position;
  }
}
