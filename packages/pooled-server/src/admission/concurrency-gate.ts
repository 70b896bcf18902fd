/**
 * Places for a limited number of requests at once, and a line for those who find none free.
 *
 * Invariants
 * - `inFlight` is the number of subjects that hold a place; each gives its place back once, whatever else happens to it.
 * - Nobody waits while there is room, but for the turn of the event loop in which they are told.
 * - Whoever waits leaves the line once: with a place, at its deadline, or because it left.
 */
import { createHistogram } from "@vg/internal";
import type { AdaptiveLimit, HowEnded } from "./adaptive-limit.ts";
import { overloaded } from "./refusal.ts";
import { LEFT, Waiter, WaitingLine, type Outcome } from "./waiting-line.ts";

/** What the gate keeps of a request: fields of the request's context, so that nothing is made for it. */
export interface Admittee {
  /** When it got its place, by the server's clock; `NO_PLACE` while it has none. */
  placeSince: number;
  waiter: Waiter<Admittee> | undefined;
}

/** No place: neither yet, nor any more. */
export const NO_PLACE: number = -Infinity;

/** Durations in milliseconds. */
export interface WaitHistogram {
  readonly count: number;
  readonly mean: number;
  record(ms: number): void;
  percentile(p: number): number;
  snapshot(): {
    readonly count: number;
    readonly sum_ms: number;
    readonly buckets: readonly { readonly le_ms: number; readonly count: number }[];
  };
}

export interface GateOptions {
  /** A number, 0 for no limit, or what finds it. */
  limit: number | AdaptiveLimit;
  queueDepth: number;
  queueDeadlineMs: number;
  clock: { now(): number };
}

const LONGEST_RETRY_SECONDS = 60;
/** How much of the way to a new hold time the usual one goes. */
const HOLD_SMOOTHING = 0.05;

export class ConcurrencyGate {
  inFlight = 0;
  admitted = 0;
  /** Those that had to wait, and how that ended for those who wait no more. */
  queued = 0;
  queueTimeouts = 0;
  queueFull = 0;
  leftQueue = 0;
  /** Of the waits that ended with a place or at their deadline. */
  readonly waits: WaitHistogram = createHistogram();
  readonly #fixed: number;
  readonly #adaptive: AdaptiveLimit | undefined;
  readonly #queueDepth: number;
  readonly #clock: { now(): number };
  readonly #line: WaitingLine<Admittee>;
  #holdMs = 0;

  constructor({ limit, queueDepth, queueDeadlineMs, clock }: GateOptions) {
    this.#adaptive = typeof limit === "number" ? undefined : limit;
    this.#fixed = typeof limit !== "number" || limit === 0 ? Infinity : limit;
    this.#queueDepth = queueDeadlineMs === 0 ? 0 : queueDepth;
    this.#clock = clock;
    this.#line = new WaitingLine(queueDeadlineMs, clock, (waiter) => this.#late(waiter));
  }

  /** `Infinity` where there is none. */
  get limit(): number {
    return this.#adaptive === undefined ? this.#fixed : this.#adaptive.value;
  }

  get queueLength(): number {
    return this.#line.size;
  }

  /**
   * Asks for a place.
   *
   * @param now by the clock, for a place that is had at once
   * @returns nothing where there was one, a refusal, or a promise of one of these while it waits
   */
  enter(subject: Admittee, now: number): Outcome | Promise<Outcome> {
    if (this.inFlight < this.limit && this.#line.size === 0) {
      this.#take(subject, now);
      return undefined;
    }
    if (this.#line.size >= this.#queueDepth) {
      this.queueFull++;
      return overloaded("queue_full", this.#retryAfterSeconds());
    }
    this.queued++;
    return new Promise((settle) => {
      const waiter = new Waiter<Admittee>(subject, this.#clock.now(), settle);
      subject.waiter = waiter;
      this.#line.add(waiter);
      // A clock that went back may have left places that nobody was told of.
      this.#serve();
    });
  }

  /**
   * The subject needs no place any more, whether it holds one, waits for one, or has given it back.
   *
   * @param route by which latencies are compared
   */
  leave(subject: Admittee, how: HowEnded, route: string): void {
    const { waiter } = subject;
    if (waiter !== undefined) {
      subject.waiter = undefined;
      this.#line.remove(waiter);
      this.leftQueue++;
      waiter.settle(LEFT);
      return;
    }
    if (subject.placeSince === NO_PLACE) return;
    const now = this.#clock.now();
    const heldMs = Math.max(0, now - subject.placeSince);
    subject.placeSince = NO_PLACE;
    this.inFlight--;
    this.#holdMs += (heldMs - this.#holdMs) * HOLD_SMOOTHING;
    this.#adaptive?.observe(route, heldMs, how, this.inFlight, now);
    if (this.#line.size > 0) this.#serve();
  }

  #take(subject: Admittee, now: number): void {
    subject.placeSince = now;
    this.inFlight++;
    this.admitted++;
    this.#adaptive?.entered(this.inFlight);
  }

  #serve(): void {
    while (this.#line.size > 0 && this.inFlight < this.limit) {
      const waiter = this.#line.next() as Waiter<Admittee>;
      const now = this.#clock.now();
      this.waits.record(now - waiter.since);
      waiter.subject.waiter = undefined;
      this.#take(waiter.subject, now);
      waiter.settle(undefined);
    }
  }

  #late(waiter: Waiter<Admittee>): void {
    waiter.subject.waiter = undefined;
    this.queueTimeouts++;
    this.waits.record(this.#clock.now() - waiter.since);
    waiter.settle(overloaded("queue_timeout", this.#retryAfterSeconds()));
  }

  /** When those who wait now will have had their turn. */
  #retryAfterSeconds(): number {
    const seconds = ((this.#line.size + 1) * this.#holdMs) / Math.max(1, this.limit) / 1000;
    return Math.min(LONGEST_RETRY_SECONDS, Math.max(1, Math.ceil(seconds)));
  }

  /** For tests that move the clock: what the timer of the line does. */
  expireWaiters(): void {
    this.#line.expire();
  }
}
