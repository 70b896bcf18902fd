import type { Timers } from "./timers.ts";

/** What `within` answers where the time was up first. */
export const LATE: unique symbol = Symbol("late");

/** How time is told and waited for. */
export interface Time {
  readonly clock: { now(): number };
  readonly timers: Timers;
}

/**
 * One point in time that everything below it counts from. It may be brought forward, never put off; whoever waits by it
 * is woken then.
 */
export class Deadline {
  readonly #time: Time;
  readonly #whole: Deadline | undefined;
  readonly #hurried = new Set<() => void>();
  #endsAt: number;

  /** @param whole what this one is a part of: never later than it, and hurried with it */
  constructor(afterMs: number, time: Time, whole?: Deadline) {
    this.#time = time;
    this.#whole = whole;
    this.#endsAt = time.clock.now() + afterMs;
  }

  get leftMs(): number {
    const left = Math.max(0, this.#endsAt - this.#time.clock.now());
    return this.#whole === undefined ? left : Math.min(left, this.#whole.leftMs);
  }

  /** A deadline of its own for a part of the work. */
  part(afterMs: number): Deadline {
    return new Deadline(afterMs, this.#time, this);
  }

  /** Brings the end forward to `afterMs` from now; later than it is changes nothing. */
  atMost(afterMs: number): void {
    const endsAt = this.#time.clock.now() + afterMs;
    if (endsAt >= this.#endsAt) return;
    this.#endsAt = endsAt;
    for (const wake of this.#hurried) wake();
  }

  /** The work's outcome, or `LATE` after `budgetMs` or at the deadline, should that be brought forward. */
  async within<T>(work: Promise<T>, budgetMs: number): Promise<T | typeof LATE> {
    const { clock, timers } = this.#time;
    const budgetEndsAt = clock.now() + budgetMs;
    let timer: object | undefined;
    let stopListening: (() => void) | undefined;
    const late = new Promise<typeof LATE>((resolve) => {
      const ring = (): void => resolve(LATE);
      timer = timers.set(ring, Math.ceil(budgetMs), true);
      stopListening = this.#onHurry(() => {
        if (timer !== undefined) timers.clear(timer);
        timer = timers.set(ring, Math.ceil(Math.min(this.leftMs, Math.max(0, budgetEndsAt - clock.now()))), true);
      });
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      if (timer !== undefined) timers.clear(timer);
      stopListening?.();
    }
  }

  /** Waits for so long, or until the deadline where it is brought forward. */
  async pause(delayMs: number): Promise<void> {
    await this.within(new Promise<never>(() => undefined), Math.min(delayMs, this.leftMs));
  }

  #onHurry(wake: () => void): () => void {
    const above = this.#whole === undefined ? undefined : this.#whole.#onHurry(wake);
    this.#hurried.add(wake);
    return () => {
      this.#hurried.delete(wake);
      above?.();
    };
  }
}
