import { overloaded, type Refusal } from "./refusal.ts";

/** `undefined`: there is a place now. */
export type Outcome = Refusal | undefined;

/** The outcome of those who left the line by themselves; nobody is there to be answered. */
export const LEFT: Refusal = overloaded("queue_timeout", 1);

/** One who waits for a place. */
export class Waiter<T> {
  readonly subject: T;
  readonly since: number;
  readonly settle: (outcome: Outcome) => void;
  older: Waiter<T> | undefined = undefined;
  newer: Waiter<T> | undefined = undefined;

  constructor(subject: T, since: number, settle: (outcome: Outcome) => void) {
    this.subject = subject;
    this.since = since;
    this.settle = settle;
  }
}

/**
 * Those who wait for a place, in the order of their coming. All have the same time to wait, so the oldest is always the
 * next to run out of it, and one timer is enough.
 */
export class WaitingLine<T> {
  size = 0;
  readonly #deadlineMs: number;
  readonly #clock: { now(): number };
  readonly #onLate: (waiter: Waiter<T>) => void;
  #oldest: Waiter<T> | undefined;
  #newest: Waiter<T> | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param onLate gets each waiter whose time is over, taken out of the line already */
  constructor(deadlineMs: number, clock: { now(): number }, onLate: (waiter: Waiter<T>) => void) {
    this.#deadlineMs = deadlineMs;
    this.#clock = clock;
    this.#onLate = onLate;
  }

  add(waiter: Waiter<T>): void {
    waiter.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = waiter;
    else this.#newest.newer = waiter;
    this.#newest = waiter;
    this.size++;
    if (this.#timer === undefined) this.#arm(this.#deadlineMs);
  }

  /**
   * Takes out the one whose turn it is: the oldest, but once the oldest has waited for half of the time that it may, the
   * newest. In a short burst everybody gets a place and the first come is the first served. In an overload not all can;
   * served in their order, all would have waited for nearly the whole time before they are, and the clients of the first
   * are the likeliest to have given up. Then the newest are served at once, and the rest are refused at their deadline.
   * (Adaptive LIFO, B. Maurer, "Fail at Scale", ACM Queue 13/8, 2015.)
   */
  next(): Waiter<T> | undefined {
    const oldest = this.#oldest;
    if (oldest === undefined) return undefined;
    const isOverload = this.#clock.now() - oldest.since > this.#deadlineMs / 2;
    const waiter = isOverload ? (this.#newest as Waiter<T>) : oldest;
    this.remove(waiter);
    return waiter;
  }

  remove(waiter: Waiter<T>): void {
    if (waiter.older === undefined) this.#oldest = waiter.newer;
    else waiter.older.newer = waiter.newer;
    if (waiter.newer === undefined) this.#newest = waiter.older;
    else waiter.newer.older = waiter.older;
    waiter.older = undefined;
    waiter.newer = undefined;
    this.size--;
    if (this.size > 0 || this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Hands over those whose time is over. The timer does this. */
  expire(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const now = this.#clock.now();
    while (this.#oldest !== undefined && now - this.#oldest.since >= this.#deadlineMs) {
      const late = this.#oldest;
      this.remove(late);
      this.#onLate(late);
    }
    if (this.#oldest !== undefined) this.#arm(this.#oldest.since + this.#deadlineMs - now);
  }

  #arm(delayMs: number): void {
    // A clock that jumped back must not make anybody wait for more than the whole time.
    const ms = Math.min(this.#deadlineMs, Math.max(1, Math.ceil(delayMs)));
    this.#timer = setTimeout(() => this.expire(), ms).unref();
  }
}
