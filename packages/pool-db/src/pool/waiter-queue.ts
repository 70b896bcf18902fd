/** One acquire that waits for a resource. `previous` and `next` belong to the queue. */
export interface Waiter<T> {
  readonly since: number;
  /** The time, on the pool's clock, at which the wait is given up. */
  readonly deadline: number;
  resolve(value: T): void;
  reject(error: unknown): void;
  /** Ends the waiter's attention to its AbortSignal. */
  detach(): void;
  previous: Waiter<T> | undefined;
  next: Waiter<T> | undefined;
}

/** A strict first-in, first-out line that anybody may leave from the middle: both in constant time. */
export class WaiterQueue<T> {
  #first: Waiter<T> | undefined;
  #last: Waiter<T> | undefined;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get first(): Waiter<T> | undefined {
    return this.#first;
  }

  push(waiter: Waiter<T>): void {
    waiter.previous = this.#last;
    if (this.#last === undefined) this.#first = waiter;
    else this.#last.next = waiter;
    this.#last = waiter;
    this.#size++;
  }

  shift(): Waiter<T> | undefined {
    const waiter = this.#first;
    if (waiter !== undefined) this.remove(waiter);
    return waiter;
  }

  /** `waiter` must be in this queue. */
  remove(waiter: Waiter<T>): void {
    const { previous, next } = waiter;
    if (previous === undefined) this.#first = next;
    else previous.next = next;
    if (next === undefined) this.#last = previous;
    else next.previous = previous;
    waiter.previous = undefined;
    waiter.next = undefined;
    this.#size--;
  }

  *[Symbol.iterator](): Generator<Waiter<T>, void, undefined> {
    let waiter = this.#first;
    while (waiter !== undefined) {
      // Read first: the visitor may remove the waiter.
      const { next } = waiter;
      yield waiter;
      waiter = next;
    }
  }
}
