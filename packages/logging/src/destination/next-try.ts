import type { System, Timer } from "./system.ts";

/** What takes nothing is tried again after this, then more and more seldom. */
const FIRST_RETRY_MS = 5;
const LAST_RETRY_MS = { behind: 100, broken: 1000 };

/** The timer of the lines that wait: those that are gathered, or those behind a destination that takes none. */
export class NextTry {
  readonly #system: System;
  readonly #attempt: () => void;
  #timer: Timer | undefined;
  #isRetry = false;
  #retryMs = 0;

  constructor(system: System, attempt: () => void) {
    this.#system = system;
    this.#attempt = attempt;
  }

  get isSet(): boolean {
    return this.#timer !== undefined;
  }

  /** For the first of the lines that are gathered. */
  setForBatch(flushIntervalMs: number): void {
    this.#set(flushIntervalMs);
  }

  /** After a failure, in the place of what was set for a batch. */
  setForRetry(isBehind: boolean, isEnding: boolean): void {
    const longest = isBehind ? LAST_RETRY_MS.behind : LAST_RETRY_MS.broken;
    this.#retryMs = Math.min(Math.max(FIRST_RETRY_MS, this.#retryMs * 2), longest);
    if ((this.#isRetry && this.#timer !== undefined) || isEnding) return;
    this.cancel();
    this.#set(this.#retryMs);
    this.#isRetry = true;
  }

  /** Something was taken: should more have to wait, it starts with short times again. */
  forgetFailures(): void {
    this.#retryMs = 0;
  }

  cancelRetry(): void {
    if (this.#isRetry) this.cancel();
  }

  cancel(): void {
    this.#timer?.cancel();
    this.#timer = undefined;
    this.#isRetry = false;
  }

  #set(ms: number): void {
    const goOff = (): void => {
      this.#timer = undefined;
      this.#isRetry = false;
      this.#attempt();
    };
    this.#timer = this.#system.startTimer(goOff, ms, false);
  }
}
