import { type HoldsLines, processEnd } from "./process-end.ts";
import type { System, Timer } from "./system.ts";

/** To listen anew for each line that waits would take far longer than to write it. */
const LINGER_MS = 1000;

/** A sink's part in the end of the process: it is told of it while lines wait, and about a second longer. */
export class EndWatch {
  readonly #holder: HoldsLines;
  readonly #system: System;
  readonly #isIdle: () => boolean;
  #isWatching = false;
  #leaving: Timer | undefined;

  /** @param isIdle whether nothing would be lost if the process ended now */
  constructor(holder: HoldsLines, system: System, isIdle: () => boolean) {
    this.#holder = holder;
    this.#system = system;
    this.#isIdle = isIdle;
  }

  /** To be called when a line has to wait. */
  start(): void {
    if (this.#isWatching) return;
    this.#isWatching = true;
    processEnd().add(this.#holder);
  }

  /** To be called when no line waits any more, as often as that happens. */
  leaveSoon(): void {
    if (!this.#isWatching || this.#leaving !== undefined) return;
    const leave = (): void => {
      this.#leaving = undefined;
      this.leaveIfIdle();
    };
    this.#leaving = this.#system.startTimer(leave, LINGER_MS, false);
  }

  leaveIfIdle(): void {
    if (this.#isIdle()) this.leave();
  }

  leave(): void {
    if (!this.#isWatching) return;
    this.#isWatching = false;
    this.#leaving?.cancel();
    this.#leaving = undefined;
    processEnd().delete(this.#holder);
  }
}
