/**
 * Calls `sweep` every `intervalMs` while it is armed: one unref'd timer, so it never keeps the process alive, and it
 * holds its owner weakly, so that a cache that was dropped without `close()` can still be collected.
 *
 * `sweep` does a bounded piece of work and says what is left: "more" work now (the next piece follows as soon as other
 * work had its turn), entries to look at "later", or "nothing" (the timer rests until it is armed again).
 */
export class CleanupTimer<T extends object> {
  readonly #intervalMs: number;
  readonly #owner: WeakRef<T>;
  readonly #sweep: (owner: T) => "more" | "later" | "nothing";
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(intervalMs: number, owner: T, sweep: (owner: T) => "more" | "later" | "nothing") {
    this.#intervalMs = intervalMs;
    this.#owner = new WeakRef(owner);
    this.#sweep = sweep;
  }

  /** Starts the timer unless it runs already or was stopped. */
  arm(): void {
    if (this.#timer === undefined && !this.#stopped) this.#schedule(this.#intervalMs);
  }

  /** For good. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #schedule(delayMs: number): void {
    this.#timer = setTimeout(() => this.#tick(), delayMs).unref();
  }

  #tick(): void {
    this.#timer = undefined;
    const owner = this.#owner.deref();
    if (owner === undefined) return;
    const left = this.#sweep(owner);
    // A callback in the sweep may have stopped the timer, or armed it anew.
    if (left === "nothing" || this.#stopped || this.#timer !== undefined) return;
    this.#schedule(left === "more" ? 1 : this.#intervalMs);
  }
}
