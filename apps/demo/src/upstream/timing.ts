import { setImmediate as nextTurn, setTimeout as delay } from "node:timers/promises";

/** Time as the upstream sees it. Tests pass one that they move by hand. */
export interface Timing {
  /** Milliseconds from an arbitrary start that never go back. */
  now(): number;
  /** Resolves after `ms`; rejects with the signal's reason, at once, when the signal aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export const realTiming: Timing = {
  now: () => performance.now(),
  async sleep(ms, signal) {
    try {
      await delay(ms, undefined, { signal });
    } catch (error) {
      // The timer wraps the reason in an AbortError of its own.
      signal.throwIfAborted();
      throw error;
    }
  },
};

/** How far a run may lag behind its schedule and still catch up; beyond it (a stalled reader) the time is lost. */
const CATCH_UP_MS = 20;
/** Without waits in between, other requests get a turn after this many steps. */
const STEPS_PER_TURN = 64;

/**
 * The pace of one run. Steps are due by a schedule instead of each waiting from its own start, so that the rate holds
 * although timers fire late and count in whole milliseconds.
 */
export class Pace {
  readonly #timing: Timing;
  readonly #signal: AbortSignal;
  #due: number;
  #steps = 0;

  constructor(timing: Timing, signal: AbortSignal) {
    this.#timing = timing;
    this.#signal = signal;
    this.#due = timing.now();
  }

  /** Waits until `ms` more have been spent since the step before. Throws the signal's reason when it aborts. */
  async spend(ms: number): Promise<void> {
    const now = this.#timing.now();
    this.#due = Math.max(this.#due, now - CATCH_UP_MS) + ms;
    const wait = this.#due - now;
    this.#steps++;
    if (wait > 0) await this.#timing.sleep(wait, this.#signal);
    else if (this.#steps % STEPS_PER_TURN === 0) await nextTurn();
    this.#signal.throwIfAborted();
  }
}
