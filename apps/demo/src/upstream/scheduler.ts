/**
 * Who may use the model: at most `slots` at a time, at most `queue` waiting behind them, first come first served;
 * beyond that a request is refused at once.
 *
 * Invariants: `in_use <= slots`; nobody waits while a slot is free; a slot that is given to a waiter passes from one
 * holder to the next without becoming free in between, so a newcomer can't overtake; a waiter that leaves holds nothing.
 */
import { UpstreamClosedError, UpstreamQueueFullError } from "./errors.ts";

export interface SchedulerOptions {
  slots: number;
  queue: number;
  clock: { now(): number };
}

export interface SchedulerStats {
  /** How many run at once. */
  readonly slots: number;
  /** Slots held now. */
  readonly in_use: number;
  /** How many may wait. */
  readonly queue_capacity: number;
  /** Waiting now. */
  readonly queued: number;
  /** Requests that got a slot. */
  readonly acquire_count: number;
  /** Requests that had to wait for one, those that left or were turned out included. */
  readonly wait_count: number;
  /** The time those have waited in all; those that wait now count once their wait ends. */
  readonly wait_duration_ms: number;
  /** Requests refused because the queue was full. */
  readonly rejected_count: number;
}

/** The right to run. `release()` gives it back; a second call is a bug and throws. */
export interface Slot {
  release(): void;
}

interface Waiter {
  readonly since: number;
  readonly grant: (slot: Slot) => void;
  readonly fail: (error: unknown) => void;
}

export class Scheduler {
  readonly #slots: number;
  readonly #queue: number;
  readonly #clock: { now(): number };
  /** In order of arrival; a Set so that a waiter can leave from the middle, also while the Set is walked. */
  readonly #waiters = new Set<Waiter>();
  #inUse = 0;
  #closed = false;
  #acquired = 0;
  #waits = 0;
  #waitMs = 0;
  #rejected = 0;
  #released = 0;
  #heldMs = 0;

  constructor({ slots, queue, clock }: SchedulerOptions) {
    this.#slots = slots;
    this.#queue = queue;
    this.#clock = clock;
  }

  /**
   * Waits for a slot.
   *
   * @throws UpstreamQueueFullError at once when `queue` others wait already
   * @throws UpstreamClosedError after or by `close()`
   * @throws the signal's reason when it aborts before the slot is given
   */
  async acquire(signal: AbortSignal): Promise<Slot> {
    signal.throwIfAborted();
    if (this.#closed) throw closedError();
    if (this.#inUse < this.#slots) {
      this.#inUse++;
      return this.#slot();
    }
    if (this.#waiters.size >= this.#queue) {
      this.#rejected++;
      const retryAfter = this.#retryAfterSeconds();
      throw new UpstreamQueueFullError(
        `The model is overloaded: all ${this.#slots} slots are in use and ${this.#waiters.size} requests wait ` +
          `(at most ${this.#queue} may). Retry in ${retryAfter} s.`,
        retryAfter,
      );
    }
    return this.#wait(signal);
  }

  stats(): SchedulerStats {
    return {
      slots: this.#slots,
      in_use: this.#inUse,
      queue_capacity: this.#queue,
      queued: this.#waiters.size,
      acquire_count: this.#acquired,
      wait_count: this.#waits,
      wait_duration_ms: this.#waitMs,
      rejected_count: this.#rejected,
    };
  }

  /** Turns out all who wait and refuses all who come. Slots in use stay in use until they are released. */
  close(): void {
    this.#closed = true;
    for (const waiter of this.#waiters) waiter.fail(closedError());
  }

  #wait(signal: AbortSignal): Promise<Slot> {
    this.#waits++;
    return new Promise<Slot>((resolve, reject) => {
      const leave = (): void => {
        this.#waiters.delete(waiter);
        this.#waitMs += this.#clock.now() - waiter.since;
        signal.removeEventListener("abort", onAbort);
      };
      const waiter: Waiter = {
        since: this.#clock.now(),
        grant: (slot) => {
          leave();
          resolve(slot);
        },
        fail: (error) => {
          leave();
          reject(error instanceof Error ? error : new Error("the wait for a slot was cancelled", { cause: error }));
        },
      };
      const onAbort = (): void => waiter.fail(signal.reason);
      signal.addEventListener("abort", onAbort, { once: true });
      this.#waiters.add(waiter);
    });
  }

  /** A slot for whoever comes next; `#inUse` counts it already. */
  #slot(): Slot {
    this.#acquired++;
    const since = this.#clock.now();
    let held = true;
    return {
      release: () => {
        if (!held) throw new Error("bug: a slot was released twice");
        held = false;
        this.#released++;
        this.#heldMs += this.#clock.now() - since;
        const [next] = this.#waiters;
        if (next === undefined) this.#inUse--;
        else next.grant(this.#slot());
      },
    };
  }

  #retryAfterSeconds(): number {
    const meanHeldMs = this.#released === 0 ? 0 : this.#heldMs / this.#released;
    const untilPlaceMs = (meanHeldMs * (this.#waiters.size + 1)) / this.#slots;
    return Math.max(1, Math.ceil(untilPlaceMs / 1000));
  }
}

function closedError(): UpstreamClosedError {
  return new UpstreamClosedError("The upstream is shutting down and takes no more requests.");
}
