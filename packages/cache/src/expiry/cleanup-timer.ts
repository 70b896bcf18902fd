import type { Clock } from "../options.ts";

/** Node's timers hold no more, and fire at once beyond it. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;
/** No event loop is held up for so long. */
const OVERDUE_MS = 60_000;

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
  /** A timer that has not fired by now was taken away (fake timers that were removed), and is needed anew. */
  overdueAt: number = Infinity;

  constructor(intervalMs: number, clock: Clock, owner: Cleanable) {
    this.#intervalMs = intervalMs;
    this.#clock = clock;
    this.#owner = new WeakRef(owner);
  }

  /** For a deadline before `armBefore`, or after `overdueAt`. */
  arm(deadline: number): void {
    if (!this.#stopped) this.#schedule(Math.max(this.#intervalMs, deadline - this.#clock.now()));
  }

  /** For good. */
  stop(): void {
    this.#stopped = true;
    this.armBefore = -Infinity;
    this.overdueAt = Infinity;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #schedule(delayMs: number): void {
    clearTimeout(this.#timer);
    const timeoutMs = Math.min(delayMs, LONGEST_TIMEOUT_MS);
    this.#timer = setTimeout(() => this.#tick(), timeoutMs).unref();
    const dueAt = this.#clock.now() + timeoutMs;
    // A timer that fires within the interval anyway need not be set for an earlier deadline.
    this.armBefore = delayMs > this.#intervalMs ? dueAt : -Infinity;
    this.overdueAt = dueAt + OVERDUE_MS;
  }

  #tick(): void {
    this.#timer = undefined;
    // Writes in the sweep, by callbacks, are seen by it.
    this.armBefore = -Infinity;
    const owner = this.#owner.deref();
    if (owner === undefined || this.#stopped) return;
    // Whatever a clock or the sweep throws, the next tick comes.
    let delayMs = this.#intervalMs;
    try {
      const { more, nextAt } = owner.cleanUp();
      if (more) delayMs = 1;
      else if (nextAt === Infinity) delayMs = Infinity;
      else delayMs = Math.max(this.#intervalMs, nextAt - this.#clock.now());
    } finally {
      if (!this.#stopped) this.#plan(delayMs);
    }
  }

  #plan(delayMs: number): void {
    if (delayMs !== Infinity) {
      this.#schedule(delayMs);
      return;
    }
    this.armBefore = Infinity;
    this.overdueAt = Infinity;
  }
}
