import type { Clock } from "../options.ts";

/** Node's timers hold no more, and fire at once beyond it. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

export interface Cleanable {
  /** Takes out a bounded number of expired entries; says whether more have to go now, and when the next one may. */
  cleanUp(): { more: boolean; nextAt: number };
}

/**
 * Has what expired removed in the background: as soon as the first deadline passes, but no two times within
 * `intervalMs`. One unref'd timer at most, and none while nothing can expire, so it never keeps the process alive; and
 * it holds its owner weakly, so that a cache that was dropped without `close()` can still be collected.
 */
export class CleanupTimer {
  readonly #intervalMs: number;
  readonly #clock: Clock;
  readonly #owner: WeakRef<Cleanable>;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  /** A deadline before this one needs the timer sooner than it is set. Public since every write compares with it. */
  armBefore: number = Infinity;

  constructor(intervalMs: number, clock: Clock, owner: Cleanable) {
    this.#intervalMs = intervalMs;
    this.#clock = clock;
    this.#owner = new WeakRef(owner);
  }

  /** For a deadline before `armBefore`. */
  arm(deadline: number): void {
    if (!this.#stopped) this.#schedule(Math.max(this.#intervalMs, deadline - this.#clock.now()));
  }

  /** For good. */
  stop(): void {
    this.#stopped = true;
    this.armBefore = -Infinity;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #schedule(delayMs: number): void {
    clearTimeout(this.#timer);
    // A timer that fires within the interval anyway need not be set for an earlier deadline.
    this.armBefore = delayMs > this.#intervalMs ? this.#clock.now() + delayMs : -Infinity;
    this.#timer = setTimeout(() => this.#tick(), Math.min(delayMs, LONGEST_TIMEOUT_MS)).unref();
  }

  #tick(): void {
    this.#timer = undefined;
    // Writes in the sweep, by callbacks, are seen by it.
    this.armBefore = -Infinity;
    const owner = this.#owner.deref();
    if (owner === undefined || this.#stopped) return;
    const { more, nextAt } = owner.cleanUp();
    if (this.#stopped) return;
    if (more) this.#schedule(1);
    else if (nextAt !== Infinity) this.#schedule(Math.max(this.#intervalMs, nextAt - this.#clock.now()));
    else this.armBefore = Infinity;
  }
}
