/** What can be in one list at a time. The fields are the list's own. */
export interface Linked<T> {
  previous: T | undefined;
  next: T | undefined;
  linked: boolean;
}

/**
 * Things in the order in which they came, each of which can leave at any time: by links in the things themselves.
 *
 * Not a Set, for what comes and goes with every request: V8 gives a Set a new table after so many deletions, and each dead
 * table points at the next and at whatever was in it. Once one of them has grown old, all of that survives every collection
 * of young objects, responses included, and collecting took a third of the time.
 */
export class LinkedList<T extends Linked<T>> {
  #size = 0;
  #first: T | undefined;
  #last: T | undefined;

  get size(): number {
    return this.#size;
  }

  get first(): T | undefined {
    return this.#first;
  }

  push(item: T): void {
    item.linked = true;
    item.previous = this.#last;
    item.next = undefined;
    if (this.#last === undefined) this.#first = item;
    else this.#last.next = item;
    this.#last = item;
    this.#size++;
  }

  /** Says whether it was in the list. */
  remove(item: T): boolean {
    if (!item.linked) return false;
    const { previous, next } = item;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    // Nothing that has left may keep alive what was beside it.
    item.linked = false;
    item.previous = undefined;
    item.next = undefined;
    this.#size--;
    return true;
  }

  /** The item that is given out may leave meanwhile. */
  *[Symbol.iterator](): Generator<T, void, undefined> {
    for (let item = this.#first; item !== undefined;) {
      const { next } = item;
      yield item;
      item = next;
    }
  }
}
