/** A place in a {@link WaitQueue}. */
export interface Waiting {
  previous: Waiting | undefined;
  next: Waiting | undefined;
  queued: boolean;
}

/**
 * First in, first out, and anyone may leave from the middle; every operation takes constant time. A mark moves from the
 * first to the last: those before it have been provided for, those from it on have not.
 */
export class WaitQueue<T extends Waiting> {
  size = 0;
  #head: Waiting | undefined;
  #tail: Waiting | undefined;
  #marked: Waiting | undefined;

  push(item: T): void {
    item.queued = true;
    item.previous = this.#tail;
    if (this.#tail === undefined) this.#head = item;
    else this.#tail.next = item;
    this.#tail = item;
    this.#marked ??= item;
    this.size++;
  }

  first(): T | undefined {
    return this.#head as T | undefined;
  }

  /** The first that the mark has not passed. */
  marked(): T | undefined {
    return this.#marked as T | undefined;
  }

  /** Moves the mark past that one and returns it. */
  advance(): T | undefined {
    const item = this.marked();
    this.#marked = item?.next;
    return item;
  }

  /** Moves the mark back to the first. */
  rewind(): void {
    this.#marked = this.#head;
  }

  shift(): T | undefined {
    const head = this.#head as T | undefined;
    if (head !== undefined) this.remove(head);
    return head;
  }

  /** Returns whether the item was still in the queue. */
  remove(item: T): boolean {
    if (!item.queued) return false;
    if (this.#marked === item) this.#marked = item.next;
    if (item.previous === undefined) this.#head = item.next;
    else item.previous.next = item.next;
    if (item.next === undefined) this.#tail = item.previous;
    else item.next.previous = item.previous;
    item.previous = undefined;
    item.next = undefined;
    item.queued = false;
    this.size--;
    return true;
  }

  *[Symbol.iterator](): Generator<T> {
    for (let item = this.#head; item !== undefined; item = item.next) yield item as T;
  }
}
