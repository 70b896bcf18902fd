import { AsyncResource } from "node:async_hooks";
import { LinkedList, type Linked } from "../linked-list.ts";

/** What can be in a line of deadlines. */
export interface Limited extends Linked<Limited> {
  /** On the process's monotonic clock; the line's own, as the next one. */
  deadline: number;
  keepsAlive: boolean;
  passDeadline(): void;
}

/** A timer that rings so late was held up by something: the event loop was blocked, or has much to do. */
const LATE_MS = 5;

/** A timer keeps the context in which it was made: not that of whoever came first, for all who come after. */
const outside = new AsyncResource("vg:pool-http:deadlines");

/**
 * Deadlines that are all equally far away when they begin, so they come due in that order, and one timer serves all of
 * them. Node's timers have such lines too, but make and drop one whenever there is a single request under way, which
 * then costs as much as a tenth of that request.
 *
 * The timer is left to ring when its request has been answered: that costs nothing until then. It keeps the process alive
 * for those who want it.
 */
export class DeadlineLine {
  readonly #ms: number;
  readonly #list = new LinkedList<Limited>();
  /** How many want the process to stay alive. */
  #wanted = 0;
  #timer: NodeJS.Timeout | undefined;
  /** It rang late, and what has arrived while the event loop was blocked is being looked at first. */
  #looking = false;
  /** Nobody will look it up again. */
  #isLast = false;

  constructor(ms: number) {
    this.#ms = ms;
  }

  get isEmpty(): boolean {
    return this.#list.size === 0;
  }

  add(limited: Limited, keepsAlive: boolean): void {
    limited.deadline = performance.now() + this.#ms;
    limited.keepsAlive = keepsAlive;
    this.#list.push(limited);
    if (keepsAlive && this.#wanted++ === 0) this.#timer?.ref();
    if (this.#timer === undefined) this.#wait(this.#ms);
  }

  /** Without effect on what is in no line. */
  remove(limited: Limited): void {
    if (!this.#list.remove(limited)) return;
    this.letExit(limited);
    if (this.#isLast && this.isEmpty) this.close();
  }

  /** It wants the process to stay alive no more. */
  letExit(limited: Limited): void {
    if (!limited.keepsAlive) return;
    limited.keepsAlive = false;
    if (--this.#wanted === 0) this.#timer?.unref();
  }

  /** Those that are in it are the last. */
  closeWhenEmpty(): void {
    this.#isLast = true;
    if (this.isEmpty) this.close();
  }

  /** Nobody is left, and nobody will come. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #wait(ms: number): void {
    this.#timer = outside.runInAsyncScope(() => setTimeout(this.#ring, Math.max(1, Math.ceil(ms))));
    if (this.#wanted === 0) this.#timer.unref();
  }

  readonly #ring = (): void => {
    const now = performance.now();
    const due = this.#list.first?.deadline ?? now;
    this.#looking = !this.#looking && now - due > LATE_MS;
    if (this.#looking) return void setImmediate(this.#ring);
    this.#timer = undefined;
    for (;;) {
      const { first } = this.#list;
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
      if (this.#lines.size >= KEPT) this.#forget();
      line = new DeadlineLine(ms);
      this.#lines.set(ms, line);
    }
    return line;
  }

  close(): void {
    this.#forget();
  }

  #forget(): void {
    for (const line of this.#lines.values()) line.closeWhenEmpty();
    this.#lines.clear();
  }
}

export interface LimitOwner {
  limitPassed(limit: Limit): void;
}

/** A limit that is set, put off and called off. */
export class Limit implements Limited {
  deadline = 0;
  previous: Limited | undefined;
  next: Limited | undefined;
  linked = false;
  keepsAlive = false;
  readonly #line: DeadlineLine;
  readonly #owner: LimitOwner;

  constructor(line: DeadlineLine, owner: LimitOwner) {
    this.#line = line;
    this.#owner = owner;
  }

  passDeadline(): void {
    this.#owner.limitPassed(this);
  }

  /** From now on; one that is set already is put off. */
  set(): void {
    this.#line.remove(this);
    this.#line.add(this, false);
  }

  callOff(): void {
    this.#line.remove(this);
  }
}
