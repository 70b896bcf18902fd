import { isWide } from "../entries/slot-array.ts";
import { SlotRings } from "./slot-rings.ts";

/** Rings, the most recently used slot first, and what a slot's segment says. */
const WINDOW = 1;
const PROBATION = 2;
const PROTECTED = 3;

/** The segment of a slot that is not held. The ring that it could anchor is never used. */
const NONE = 0;
const ANCHORS = 4;

/** The protected segment's share of the main part. */
const PROTECTED_SHARE = 0.8;

/** So many slots move from one segment to another in one call when shares have changed. */
const MOVES = 8;

/** From this estimated frequency on, a candidate that lost may be let in by chance, once in so many times. */
const LUCKY_FREQUENCY = 6;
const LUCKY_TIMES = 128;

/** What the queues ask about slots. */
export interface Admission {
  /** How often the slot's key was used lately. */
  frequency(slot: number): number;
  /** A number of 0 or above and below 1. */
  random(): number;
}

/**
 * The queues of W-TinyLFU: a window, where all begin, and a main part for which only those are admitted that were used
 * more often lately than the one that has to leave it. The window is an LRU list; the main part is a segmented one: a
 * second use moves from probation to protected. With a window of all entries this is exact LRU.
 * From "TinyLFU: A Highly Efficient Cache Admission Policy" (Einziger, Friedman, Manes, 2017) and "Caching Strategies to
 * Improve Disk System Performance" (Karedla, Love, Wherry, 1994).
 *
 * Shares are of the slots held. Constant time a call: after a change of shares at most 8 slots move in one call, until
 * all is as it should be.
 */
export class AdmissionQueues {
  /** The window's share of all slots held, above 0 and at most 1; it can be changed at any time. */
  windowShare: number;
  readonly #rings: SlotRings;
  readonly #admission: Admission;
  #segments: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #window = 0;
  #probation = 0;
  #protected = 0;

  constructor(windowShare: number, wide: boolean, admission: Admission) {
    this.windowShare = windowShare;
    this.#rings = new SlotRings(ANCHORS, wide);
    this.#admission = admission;
  }

  get size(): number {
    return this.#window + this.#probation + this.#protected;
  }

  grow(slots: number): void {
    this.#rings.grow(slots, isWide(slots));
    const segments = new Uint8Array(slots);
    segments.set(this.#segments);
    this.#segments = segments;
  }

  holds(slot: number): boolean {
    return this.#segments[slot] !== NONE;
  }

  insert(slot: number): void {
    this.#segments[slot] = WINDOW;
    this.#rings.insertFirst(WINDOW, slot);
    this.#window++;
    this.#shrinkWindow(this.#windowDue());
  }

  touch(slot: number): void {
    const rings = this.#rings;
    const segment = this.#segments[slot]!;
    if (segment === PROBATION) {
      rings.moveFirst(PROTECTED, slot);
      this.#segments[slot] = PROTECTED;
      this.#probation--;
      this.#protected++;
      this.#shrinkProtected();
    } else {
      rings.moveFirst(segment, slot);
    }
  }

  remove(slot: number): void {
    const segment = this.#segments[slot]!;
    this.#rings.remove(slot);
    this.#segments[slot] = NONE;
    if (segment === WINDOW) this.#window--;
    else if (segment === PROBATION) this.#probation--;
    else this.#protected--;
  }

  /** The slot that has to leave for a newcomer, who will be in the window; 0 if nothing is held. */
  victim(): number {
    const rings = this.#rings;
    const due = this.#windowDue();
    this.#shrinkWindow(due);
    const main = rings.last(this.#probation > 0 ? PROBATION : PROTECTED);
    if (this.#probation + this.#protected === 0) return this.#window > 0 ? rings.last(WINDOW) : 0;
    // There is room in the window for the newcomer, so the main part is too large.
    if (this.#window < due) return main;
    const candidate = rings.last(WINDOW);
    if (!this.#admits(candidate, main)) return candidate;
    this.#leaveWindow();
    return main;
  }

  /** Adds the slots, protected ones first, then window, then probation, each by recency. */
  collect(slots: number[], limit: number): void {
    for (const ring of [PROTECTED, WINDOW, PROBATION]) this.#rings.collect(ring, slots, limit);
  }

  reset(): void {
    this.#rings.reset();
    this.#segments = new Uint8Array(0);
    this.#window = 0;
    this.#probation = 0;
    this.#protected = 0;
  }

  #windowDue(): number {
    return Math.max(1, Math.round(this.size * this.windowShare));
  }

  #admits(candidate: number, main: number): boolean {
    const frequency = this.#admission.frequency(candidate);
    if (frequency > this.#admission.frequency(main)) return true;
    // Who makes up keys that all collide with a victim's counters would keep that victim for ever, and everybody out.
    return frequency >= LUCKY_FREQUENCY && this.#admission.random() * LUCKY_TIMES < 1;
  }

  #shrinkWindow(due: number): void {
    for (let moves = 0; this.#window > due && moves < MOVES; moves++) this.#leaveWindow();
  }

  #leaveWindow(): void {
    const slot = this.#rings.last(WINDOW);
    this.#rings.moveFirst(PROBATION, slot);
    this.#segments[slot] = PROBATION;
    this.#window--;
    this.#probation++;
  }

  #shrinkProtected(): void {
    const rings = this.#rings;
    const due = Math.floor((this.#probation + this.#protected) * PROTECTED_SHARE);
    for (let moves = 0; this.#protected > due && moves < MOVES; moves++) {
      const slot = rings.last(PROTECTED);
      rings.moveFirst(PROBATION, slot);
      this.#segments[slot] = PROBATION;
      this.#protected--;
      this.#probation++;
    }
  }
}
