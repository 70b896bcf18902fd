import { LinkedList, type Linked } from "../linked-list.ts";

/**
 * First in, first out, and anyone may leave from the middle; every operation takes constant time. A mark moves from the
 * first to the last: those before it have been provided for, those from it on have not.
 */
export class WaitQueue<T extends Linked<T>> extends LinkedList<T> {
  #marked: T | undefined;

  override push(item: T): void {
    super.push(item);
    this.#marked ??= item;
  }

  /** The first that the mark has not passed. */
  marked(): T | undefined {
    return this.#marked;
  }

  /** Moves the mark past that one and returns it. */
  advance(): T | undefined {
    const item = this.#marked;
    this.#marked = item?.next;
    return item;
  }

  /** Moves the mark back to the first. */
  rewind(): void {
    this.#marked = this.first;
  }

  shift(): T | undefined {
    const { first } = this;
    if (first !== undefined) this.remove(first);
    return first;
  }

  override remove(item: T): boolean {
    if (this.#marked === item) this.#marked = item.next;
    return super.remove(item);
  }
}
