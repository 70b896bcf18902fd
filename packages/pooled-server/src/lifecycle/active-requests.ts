import { Bag, NOT_BAGGED } from "@vg/internal";
import type { Deadline } from "./deadline.ts";

/** A request under way, as the shutdown sees it. */
export interface ActiveRequest {
  /** For the bag of them: `NOT_BAGGED` at first. */
  bagIndex: number;
  /** By the server's clock. */
  readonly startedAt: number;
  /** Method and path, for the report. */
  describe(): string;
  /** Nothing new is accepted: what has no end of its own shall end. */
  drain(reason: Error): void;
  /** The time to end well is now. */
  callLast(reason: Error): void;
  /** The work shall stop. */
  abort(reason: Error): void;
}

/** The parts of the time of a drain, 0..1: after which streams are called for the last time, and work is aborted. */
const LAST_CALL = 0.7;
const ABORT = 0.85;

/** The requests under way: counted, named, and brought to an end. */
export class ActiveRequests<R extends ActiveRequest> implements Iterable<R> {
  readonly #active = new Bag<R>();
  readonly #clock: { now(): number };
  #whenIdle: { promise: Promise<void>; resolve: () => void } | undefined;

  constructor(clock: { now(): number }) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#active.size;
  }

  add(request: R): void {
    this.#active.add(request);
  }

  delete(request: R): void {
    this.#active.delete(request);
    if (this.#active.size > 0 || this.#whenIdle === undefined) return;
    this.#whenIdle.resolve();
    this.#whenIdle = undefined;
  }

  has(request: R): boolean {
    return request.bagIndex !== NOT_BAGGED;
  }

  /** Over those of now, whoever comes and goes meanwhile. */
  [Symbol.iterator](): Iterator<R> {
    return this.#active[Symbol.iterator]();
  }

  /** Waits until none is active, for so long at most; says whether none is. */
  async idle(waitMs: number, deadline: Deadline): Promise<boolean> {
    if (this.size > 0) {
      this.#whenIdle ??= pending();
      await deadline.within(this.#whenIdle.promise, waitMs);
    }
    return this.size === 0;
  }

  /**
   * Brings all to an end within `waitMs`: they are told that the server drains; near the end, to say their last word; then
   * their work is aborted. Returns those that had to be aborted, the oldest first.
   */
  async end(waitMs: number, deadline: Deadline, reason: Error): Promise<R[]> {
    const endsAt = this.#clock.now() + waitMs;
    // At least a turn of the loop for those who can end at once, also where no time is left.
    const idleUntil = (part: number): Promise<boolean> =>
      this.idle(Math.max(1, Math.min(endsAt - (1 - part) * waitMs - this.#clock.now(), deadline.leftMs)), deadline);
    for (const request of this) request.drain(reason);
    if (await idleUntil(LAST_CALL)) return [];
    for (const request of this) request.callLast(reason);
    if (await idleUntil(ABORT)) return [];
    const aborted = [...this.#active].toSorted((a, b) => a.startedAt - b.startedAt);
    for (const request of aborted) request.abort(reason);
    await idleUntil(1);
    return aborted;
  }

  /** "GET /path (1200 ms)": with its age. */
  describe(request: R): string {
    return `${request.describe()} (${Math.round(this.#clock.now() - request.startedAt)} ms)`;
  }
}

function pending(): { promise: Promise<void>; resolve: () => void } {
  let resolve!: () => void;
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
