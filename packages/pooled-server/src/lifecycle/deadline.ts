/** What `within` answers where the time was up first. */
export const LATE: unique symbol = Symbol("late");

/**
 * One point in time that everything below it counts from. It may be brought forward, never put off; whoever waits by it
 * is woken then.
 */
export class Deadline {
  readonly #clock: { now(): number };
  readonly #whole: Deadline | undefined;
  readonly #hurried = new Set<() => void>();
  #endsAt: number;

  /** @param whole what this one is a part of: never later than it, and hurried with it */
  constructor(afterMs: number, clock: { now(): number }, whole?: Deadline) {
    this.#clock = clock;
    this.#whole = whole;
    this.#endsAt = clock.now() + afterMs;
  }

  get leftMs(): number {
    const left = Math.max(0, this.#endsAt - this.#clock.now());
    return this.#whole === undefined ? left : Math.min(left, this.#whole.leftMs);
  }

  /** Brings the end forward to `afterMs` from now; later than it is changes nothing. */
  atMost(afterMs: number): void {
    const endsAt = this.#clock.now() + afterMs;
    if (endsAt >= this.#endsAt) return;
    this.#endsAt = endsAt;
    for (const wake of this.#hurried) wake();
  }

  /** The work's outcome, or `LATE` after `budgetMs` or at the deadline, should that be brought forward. */
  async within<T>(work: Promise<T>, budgetMs: number): Promise<T | typeof LATE> {
    const budgetEndsAt = this.#clock.now() + budgetMs;
    let timer: NodeJS.Timeout | undefined;
    let stopListening: (() => void) | undefined;
    const late = new Promise<typeof LATE>((resolve) => {
      const ringAfter = (delayMs: number): void => {
        clearTimeout(timer);
        // Not unref'd: who closes in good order does not end in the middle of it.
        timer = setTimeout(() => resolve(LATE), Math.ceil(delayMs));
      };
      ringAfter(budgetMs);
      stopListening = this.#onHurry(() =>
        ringAfter(Math.min(this.leftMs, Math.max(0, budgetEndsAt - this.#clock.now()))),
      );
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      clearTimeout(timer);
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
