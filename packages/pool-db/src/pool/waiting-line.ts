import type { PoolCounters } from "./pool-stats.ts";
import { Waiter, WaiterQueue, type WaitRequest } from "./waiter-queue.ts";

/** The acquires that wait, first come, first served, and the books of their waits. */
export class WaitingLine<T> {
  readonly #queue: WaiterQueue<T> = new WaiterQueue();
  readonly #counters: PoolCounters;
  readonly #onAbort: (waiter: Waiter<T>, reason: unknown) => void;

  /** `onAbort` is called after a waiter has left because of its signal. */
  constructor(counters: PoolCounters, now: () => number, onAbort: () => void) {
    this.#counters = counters;
    this.#onAbort = (waiter, reason) => {
      counters.canceled++;
      this.#dismiss(waiter, reason, now());
      onAbort();
    };
  }

  get size(): number {
    return this.#queue.size;
  }

  /** The one who has waited longest; `undefined` when nobody waits. */
  get first(): Pick<Waiter<T>, "since" | "shared" | "site"> | undefined {
    return this.#queue.first;
  }

  /** Resolves with what `as` makes of the value, or with the value. */
  join(request: WaitRequest, as?: (value: T) => unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      this.#queue.push(new Waiter(request, as, this.#onAbort, resolve, reject));
    });
  }

  /**
   * Serves the one who has waited longest; somebody must be waiting. `checked`: with a resource that was free when it
   * was asked for and only had to be checked, which is no wait.
   */
  serve(value: T, now: number, checked: boolean): void {
    const waiter = this.#queue.first as Waiter<T>;
    this.#queue.remove(waiter);
    waiter.detach();
    if (!checked) this.#counters.waited(now - waiter.since);
    waiter.resolve(value);
  }

  /** Rejects those whose deadline has passed. */
  expire(now: number, errorFor: (waiter: Waiter<T>) => Error): void {
    for (const waiter of this.#queue) {
      if (waiter.deadline > now) continue;
      this.#counters.timedOut++;
      this.#dismiss(waiter, errorFor(waiter), now);
    }
  }

  /** Rejects everybody, and returns how many they were. */
  refuseAll(error: () => Error, now: number): number {
    const { size } = this.#queue;
    for (const waiter of this.#queue) this.#dismiss(waiter, error(), now);
    return size;
  }

  /** The earliest deadline; `Infinity` when there is none. */
  nextDeadline(): number {
    let due = Infinity;
    for (const { deadline } of this.#queue) due = Math.min(due, deadline);
    return due;
  }

  #dismiss(waiter: Waiter<T>, error: unknown, now: number): void {
    this.#queue.remove(waiter);
    waiter.detach();
    this.#counters.waited(now - waiter.since);
    waiter.reject(error);
  }
}
