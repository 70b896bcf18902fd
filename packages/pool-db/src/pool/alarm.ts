import { LONGEST_DELAY_MS } from "@vg/internal";

/** Milliseconds that never go back. A test passes its own and moves the time. */
export interface Clock {
  now(): number;
}

/** How the alarm sleeps; Node's timers, or a test's. */
export interface Timers {
  set(ring: () => void, delayMs: number): object;
  clear(timer: object): void;
  /** Whether the timer keeps the process alive. */
  keepAlive(timer: object, on: boolean): void;
}

export const nodeTimers: Timers = {
  set: (ring, delayMs) => setTimeout(ring, delayMs).unref(),
  clear: (timer) => clearTimeout(timer as NodeJS.Timeout),
  keepAlive: (timer, on) => void (on ? (timer as NodeJS.Timeout).ref() : (timer as NodeJS.Timeout).unref()),
};

/**
 * The one timer of a pool. It rings at the earliest of all the times that were asked for, perhaps earlier, never later
 * by its own doing; whoever is rung looks for what is due and asks for the next time. Asking costs a comparison as long
 * as an earlier ring is set, so that the common case (acquire, release) touches no timer.
 */
export class Alarm {
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #ring: (now: number) => void;
  #timer: object | undefined;
  #at = Infinity;
  #keepAlive = false;

  constructor(clock: Clock, timers: Timers, ring: (now: number) => void) {
    this.#clock = clock;
    this.#timers = timers;
    this.#ring = ring;
  }

  /** Rings at `at` at the latest; `Infinity` asks for nothing. */
  atLatest(at: number): void {
    if (at >= this.#at) return;
    this.cancel();
    this.#at = at;
    const delayMs = Math.min(LONGEST_DELAY_MS, Math.max(1, Math.ceil(at - this.#clock.now())));
    this.#timer = this.#timers.set(() => {
      this.#timer = undefined;
      this.#at = Infinity;
      const now = this.#clock.now();
      // A timer may ring a fraction of a millisecond early: what was asked for is due all the same.
      this.#ring(at - now < 1 ? Math.max(now, at) : now);
    }, delayMs);
    if (this.#keepAlive) this.#timers.keepAlive(this.#timer, true);
  }

  /** While somebody waits for what the ring will do, the process must not end before it. */
  keepAlive(on: boolean): void {
    if (on === this.#keepAlive) return;
    this.#keepAlive = on;
    if (this.#timer !== undefined) this.#timers.keepAlive(this.#timer, on);
  }

  cancel(): void {
    if (this.#timer !== undefined) this.#timers.clear(this.#timer);
    this.#timer = undefined;
    this.#at = Infinity;
  }
}
