import type { Clock } from "../options.ts";

/** After so many uses the time is read anew, whether or not the timer had its turn. */
const USES_PER_READING = 32;

/**
 * A clock that is read at most once every `resolutionMs`, and once in 32 uses.
 *
 * What it gives is late, never early: by `resolutionMs` while the event loop turns; inside a stretch of program that
 * does not let go of it, where no timer can run, by as long as the last 32 uses took.
 */
export class CoarseClock implements Clock {
  readonly #clock: Clock;
  readonly #resolutionMs: number;
  #usesLeft = 0;
  #time = 0;
  #isArmed = false;
  readonly #expire: () => void = () => {
    this.#isArmed = false;
    this.#usesLeft = 0;
  };

  constructor(clock: Clock, resolutionMs: number) {
    this.#clock = clock;
    this.#resolutionMs = resolutionMs;
  }

  now(): number {
    return this.#usesLeft-- > 0 ? this.#time : this.#read();
  }

  #read(): number {
    this.#time = this.#clock.now();
    this.#usesLeft = USES_PER_READING - 1;
    if (!this.#isArmed) {
      this.#isArmed = true;
      setTimeout(this.#expire, this.#resolutionMs).unref();
    }
    return this.#time;
  }
}
