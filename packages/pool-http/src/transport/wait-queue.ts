/** A place in a {@link WaitQueue}. */
export interface Waiting {
  previous: Waiting | undefined;
  next: Waiting | undefined;
  queued: boolean;
}

/** First in, first out, and anyone may leave from the middle; every operation takes constant time. */
export class WaitQueue<T extends Waiting> {
  size = 0;
  #head: Waiting | undefined;
  #tail: Waiting | undefined;

  push(item: T): void {
    item.queued = true;
    item.previous = this.#tail;
    if (this.#tail === undefined) this.#head = item;
    else this.#tail.next = item;
    this.#tail = item;
    this.size++;
  }

  first(): T | undefined {
    return this.#head as T | undefined;
  }

  shift(): T | undefined {
    const head = this.#head as T | undefined;
    if (head !== undefined) this.remove(head);
    return head;
  }

  /** Returns whether the item was still in the queue. */
  remove(item: T): boolean {
    if (!item.queued) return false;
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
