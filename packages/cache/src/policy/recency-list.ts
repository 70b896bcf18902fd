/**
 * The order of use of slots, exactly: a doubly linked ring in two typed arrays, most recently used first.
 *
 * Slot 0 is the ring's anchor and never holds an entry, so that no operation has a special case for the ends:
 * `next[0]` is the most recently used slot, `prev[0]` the least recently used one, and both are 0 when it is empty.
 *
 * A policy answers four questions (`insert`, `touch`, `remove`, `victim`); another one has the same four verbs.
 */
export class RecencyList {
  #next = new Int32Array(1);
  #prev = new Int32Array(1);

  /** Makes room for slots below `slots`. */
  grow(slots: number): void {
    const next = new Int32Array(slots);
    const prev = new Int32Array(slots);
    next.set(this.#next);
    prev.set(this.#prev);
    this.#next = next;
    this.#prev = prev;
  }

  /** A new entry: the most recently used one. */
  insert(slot: number): void {
    const first = this.#next[0]!;
    this.#next[slot] = first;
    this.#prev[slot] = 0;
    this.#prev[first] = slot;
    this.#next[0] = slot;
  }

  /** A use of the entry. */
  touch(slot: number): void {
    if (this.#next[0] === slot) return;
    this.remove(slot);
    this.insert(slot);
  }

  remove(slot: number): void {
    const next = this.#next[slot]!;
    const prev = this.#prev[slot]!;
    this.#next[prev] = next;
    this.#prev[next] = prev;
  }

  /** The slot to give up next, the least recently used one; 0 when there is none. */
  victim(): number {
    return this.#prev[0]!;
  }

  /** The slot used just before `slot`; `after(0)` is the most recently used one; 0 ends the walk. */
  after(slot: number): number {
    return this.#next[slot]!;
  }

  reset(): void {
    this.#next = new Int32Array(1);
    this.#prev = new Int32Array(1);
  }
}
