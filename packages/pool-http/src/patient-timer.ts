/**
 * A limit that looks once more before it passes. When the event loop was blocked, timers come first and what has arrived
 * meanwhile comes after them; without a look at it a connection that stands would count as one that never came.
 */
export class PatientTimer {
  readonly #timer: NodeJS.Timeout;
  #lastLook: NodeJS.Immediate | undefined;

  constructor(ms: number, passed: () => void) {
    this.#timer = setTimeout(() => {
      this.#lastLook = setImmediate(passed);
    }, ms);
  }

  /** Whether it keeps the process alive. */
  get isWanted(): boolean {
    return this.#timer.hasRef();
  }

  setWanted(wanted: boolean): void {
    if (wanted) this.#timer.ref();
    else this.#timer.unref();
  }

  cancel(): void {
    clearTimeout(this.#timer);
    clearImmediate(this.#lastLook);
  }
}
