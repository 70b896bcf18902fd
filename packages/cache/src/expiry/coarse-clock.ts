import type { Clock } from "../options.ts";

/** After so many uses the time is read anew, whether or not the timer had its turn. */
const USES_PER_READING = 32;
/** Ten times the coarsest resolution. */
const LOST_AFTER_MS = 10_000;

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
  #timer: NodeJS.Timeout | undefined;
  #timeOfArming = 0;
  readonly #expire: () => void = () => {
    this.#timer = undefined;
    this.#usesLeft = 0;
  };

  constructor(clock: Clock, resolutionMs: number) {
    this.#clock = clock;
    this.#resolutionMs = resolutionMs;
  }

  now(): number {
    return this.#usesLeft-- > 0 ? this.#time : this.#read();
  }

  /** Leaves no timer behind. It goes on giving the time. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#expire();
  }

  #read(): number {
    this.#time = this.#clock.now();
    this.#usesLeft = USES_PER_READING - 1;
    // A timer that should have fired long ago was taken away (fake timers that were removed).
    const isLost = this.#time - this.#timeOfArming > LOST_AFTER_MS;
    if (this.#timer === undefined || isLost) {
      this.#timeOfArming = this.#time;
      this.#timer = setTimeout(this.#expire, this.#resolutionMs).unref();
    }
    return this.#time;
  }
}
