/** What can be in a line of deadlines. The line's own fields are `deadline`, `before` and `behind`. */
export interface Limited {
  /** On the process's monotonic clock; 0 while it is in no line. */
  deadline: number;
  before: Limited | undefined;
  behind: Limited | undefined;
  passDeadline(): void;
}

/**
 * Deadlines that are all equally far away when they begin, so they come due in that order, and one timer serves all of
 * them. Node's timers have such lines too, but make and drop one whenever there is a single request under way, which
 * then costs as much as a tenth of that request.
 *
 * The timer is left to ring when its request has been answered: that costs nothing until then. It keeps no process alive;
 * whoever waits does so for a socket, which does.
 */
export class DeadlineLine {
  readonly #ms: number;
  #first: Limited | undefined;
  #last: Limited | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor(ms: number) {
    this.#ms = ms;
  }

  add(limited: Limited): void {
    limited.deadline = performance.now() + this.#ms;
    limited.before = this.#last;
    limited.behind = undefined;
    if (this.#last === undefined) this.#first = limited;
    else this.#last.behind = limited;
    this.#last = limited;
    if (this.#timer === undefined) this.#wait(this.#ms);
  }

  /** Without effect on what is in no line. */
  remove(limited: Limited): void {
    if (limited.deadline === 0) return;
    const { before, behind } = limited;
    if (before === undefined) this.#first = behind;
    else before.behind = behind;
    if (behind === undefined) this.#last = before;
    else behind.before = before;
    limited.deadline = 0;
    limited.before = undefined;
    limited.behind = undefined;
  }

  /** Nobody is left, and nobody will come. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #wait(ms: number): void {
    this.#timer = setTimeout(this.#ring, Math.max(1, Math.ceil(ms))).unref();
  }

  readonly #ring = (): void => {
    this.#timer = undefined;
    const now = performance.now();
    for (;;) {
      const first = this.#first;
      if (first === undefined) return;
      // A timer may ring a fraction of a millisecond early.
      if (first.deadline - now >= 1) return this.#wait(first.deadline - now);
      this.remove(first);
      try {
        first.passDeadline();
      } catch (error) {
        // As Node does it: an error that nobody catches, and the others are not held up by it.
        process.nextTick(() => {
          throw error;
        });
      }
    }
  };
}

/** So many lines are kept for who comes next: more are one for each request, as where a caller hands on what is left of its own time. */
const KEPT = 64;

/** The lines of a pool, by their length. */
export class DeadlineLines {
  readonly #lines = new Map<number, DeadlineLine>();

  of(ms: number): DeadlineLine {
    let line = this.#lines.get(ms);
    if (line === undefined) {
      if (this.#lines.size >= KEPT) this.#lines.clear();
      line = new DeadlineLine(ms);
      this.#lines.set(ms, line);
    }
    return line;
  }

  close(): void {
    for (const line of this.#lines.values()) line.close();
    this.#lines.clear();
  }
}

/** A limit that is set, put off and called off. */
export class Limit implements Limited {
  deadline = 0;
  before: Limited | undefined;
  behind: Limited | undefined;
  readonly passDeadline: () => void;
  readonly #line: DeadlineLine;

  constructor(line: DeadlineLine, onPassed: () => void) {
    this.#line = line;
    this.passDeadline = onPassed;
  }

  /** From now on; one that is set already is put off. */
  set(): void {
    this.#line.remove(this);
    this.#line.add(this);
  }

  callOff(): void {
    this.#line.remove(this);
  }
}
