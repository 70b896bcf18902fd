import type { PoolCounters } from "./pool-stats.ts";
import { WaiterQueue, type Waiter } from "./waiter-queue.ts";

/** The acquires that wait, first come, first served, and the books of their waits. */
export class WaitingLine<T> {
  readonly #queue: WaiterQueue<T> = new WaiterQueue();
  readonly #counters: PoolCounters;

  constructor(counters: PoolCounters) {
    this.#counters = counters;
  }

  get size(): number {
    return this.#queue.size;
  }

  /** Since when the one at the head has waited; `undefined` when nobody waits. */
  get firstSince(): number | undefined {
    return this.#queue.first?.since;
  }

  /** Waits until `since + timeoutMs`. `onAbort` is called after a waiter has left because of its signal. */
  join(
    since: number,
    { signal, timeoutMs }: { signal: AbortSignal | undefined; timeoutMs: number },
    { now, onAbort }: { now: () => number; onAbort: () => void },
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        this.#counters.canceled++;
        this.#dismiss(waiter, signal?.reason, now());
        onAbort();
      };
      const waiter: Waiter<T> = {
        since,
        deadline: since + timeoutMs,
        resolve,
        reject,
        detach: () => signal?.removeEventListener("abort", abort),
        previous: undefined,
        next: undefined,
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#queue.push(waiter);
    });
  }

  /**
   * Serves the one who has waited longest; somebody must be waiting. `checked`: with a resource that was free when it
   * was asked for and only had to be checked, which is no wait.
   */
  serve(value: T, now: number, checked: boolean): void {
    const waiter = this.#queue.shift() as Waiter<T>;
    waiter.detach();
    if (!checked) this.#counters.waited(now - waiter.since);
    waiter.resolve(value);
  }

  /** Rejects those whose deadline has passed. */
  expire(now: number, errorFor: (waitedMs: number) => Error): void {
    for (const waiter of this.#queue) {
      if (waiter.deadline > now) continue;
      this.#counters.timedOut++;
      this.#dismiss(waiter, errorFor(now - waiter.since), now);
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
