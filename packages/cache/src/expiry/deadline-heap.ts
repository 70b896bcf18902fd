/** What `firstExpired` answers when its allowance of repairs ran out before it knew. */
export const UNDECIDED = -1;

/**
 * The deadlines of slots, and which of them passed first.
 *
 * A binary min-heap that is lazy on purpose. The usual write moves a deadline later (a value is replaced, or a newcomer
 * takes the slot of the evicted), and moving a node down a heap at every write is what would make expiry expensive.
 * So the heap orders slots by a *floor*, a time that their deadline is not before; a later deadline leaves the floor
 * where it is, and only a floor that has come to the top and has passed is repaired. One slot has one node at most, so
 * the heap is never larger than the cache.
 *
 * Invariants: `floor(slot) <= deadline(slot)` for every slot in the heap; a slot that has a deadline is in the heap;
 * a slot in the heap without a deadline (free, or never expiring) is dropped when it comes to the top.
 */
export class DeadlineHeap {
  /** Deadline by slot, in the clock's milliseconds; Infinity: none. Public since every `get` reads it. */
  deadlines: Float64Array = new Float64Array(1).fill(Infinity);
  /** Where the slot is in the heap; 0: it isn't. */
  #position = new Int32Array(1);
  /** By position, from 1: the slot and its floor. Floors lie beside one another, since a repair compares neighbours. */
  #slots = new Int32Array(2);
  #floors = new Float64Array(2);
  #size = 0;

  /** True when no slot can have a deadline. */
  get isEmpty(): boolean {
    return this.#size === 0;
  }

  /** Makes room for slots below `slots`. */
  grow(slots: number): void {
    const deadlines = new Float64Array(slots).fill(Infinity);
    const position = new Int32Array(slots);
    const heapSlots = new Int32Array(slots + 1);
    const floors = new Float64Array(slots + 1);
    deadlines.set(this.deadlines);
    position.set(this.#position);
    heapSlots.set(this.#slots);
    floors.set(this.#floors);
    this.deadlines = deadlines;
    this.#position = position;
    this.#slots = heapSlots;
    this.#floors = floors;
  }

  /** Gives the slot a deadline, or with Infinity takes it away. O(1) unless the deadline is before the slot's floor. */
  set(slot: number, deadline: number): void {
    this.deadlines[slot] = deadline;
    if (deadline === Infinity) return;
    const position = this.#position[slot]!;
    if (position === 0) this.#rise(++this.#size, slot, deadline);
    else if (deadline < this.#floors[position]!) this.#rise(position, slot, deadline);
  }

  /** The slot's entry is gone. */
  remove(slot: number): void {
    this.deadlines[slot] = Infinity;
  }

  /**
   * A slot whose deadline has passed, the earliest known first; 0 when there is none. After `repairs` floors were set
   * right without an answer it gives up with UNDECIDED, so that one call cannot take long, however many deadlines were
   * moved since the last. Every turn of its loop makes progress, whatever number (or none) the clock gives.
   */
  firstExpired(now: number, repairs: number): number {
    while (this.#size > 0) {
      if (this.#floors[1]! > now) return 0;
      const slot = this.#slots[1]!;
      const deadline = this.deadlines[slot]!;
      // Not `deadline <= now`: by a clock that gives NaN everything has expired, instead of the top being sought for ever.
      if (deadline !== Infinity && !(deadline > now)) return slot;
      if (repairs-- <= 0) return UNDECIDED;
      if (deadline === Infinity) this.#dropTop();
      else this.#sink(1, slot, deadline);
    }
    return 0;
  }

  reset(): void {
    this.deadlines = new Float64Array(1).fill(Infinity);
    this.#position = new Int32Array(1);
    this.#slots = new Int32Array(2);
    this.#floors = new Float64Array(2);
    this.#size = 0;
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
