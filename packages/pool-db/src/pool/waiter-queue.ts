import type { CallSite } from "../call-site.ts";

/** One acquire that waits for a resource. `previous` and `next` belong to the queue. */
export class Waiter<T> {
  readonly since: number;
  /** The time, on the pool's clock, at which the wait is given up. */
  readonly deadline: number;
  readonly limitedBy: "acquireTimeoutMs" | "timeoutMs";
  /** Whether it is content with a share. */
  readonly shared: boolean;
  readonly #resolve: (value: unknown) => void;
  readonly #as: ((value: T) => unknown) | undefined;
  readonly reject: (error: unknown) => void;
  /** Where it was asked for, if leaks are looked for. */
  readonly site: CallSite | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #leave: (waiter: Waiter<T>, reason: unknown) => void;
  previous: Waiter<T> | undefined = undefined;
  next: Waiter<T> | undefined = undefined;

  constructor(
    { since, deadline, limitedBy, shared, site, signal }: WaitRequest,
    as: ((value: T) => unknown) | undefined,
    leave: (waiter: Waiter<T>, reason: unknown) => void,
    resolve: (value: unknown) => void,
    reject: (error: unknown) => void,
  ) {
    this.since = since;
    this.deadline = deadline;
    this.limitedBy = limitedBy;
    this.shared = shared;
    this.site = site;
    this.#as = as;
    this.#resolve = resolve;
    this.reject = reject;
    this.#signal = signal;
    this.#leave = leave;
    signal?.addEventListener("abort", this);
  }

  resolve(value: T): void {
    this.#resolve(this.#as === undefined ? value : this.#as(value));
  }

  /** The signal was aborted. An object with this method is a listener, and costs no closure. */
  handleEvent(): void {
    this.#leave(this, this.#signal?.reason);
  }

  /** Ends the attention to the signal. */
  detach(): void {
    this.#signal?.removeEventListener("abort", this);
  }
}

export interface WaitRequest {
  readonly since: number;
  /** The time, on the pool's clock, at which the wait is given up. */
  readonly deadline: number;
  /** The option that has set the deadline. */
  readonly limitedBy: "acquireTimeoutMs" | "timeoutMs";
  readonly shared: boolean;
  readonly site: CallSite | undefined;
  readonly signal: AbortSignal | undefined;
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
