import { DeadlineHeap } from "./deadline-heap.ts";

/** How long an entry lives, from the moment it is stored. */
export interface Lifetime {
  /** Milliseconds until it is over, above 0; Infinity: never. */
  readonly ttlMs: number;
  /** Milliseconds that it lives after its last use at most; Infinity: unused entries live as long as used ones. */
  readonly idleMs: number;
  /** Milliseconds for which it is kept, for loads only, after it is over. */
  readonly staleMs: number;
  /** The share of `ttlMs` after which a load that finds it refreshes it, above 0; 1: it never does. */
  readonly refreshRatio: number;
}

interface IdleTimes {
  /** By slot; Infinity: none. */
  readonly ms: Float64Array<ArrayBuffer>;
  /** By slot: when the TTL is over. */
  readonly cap: Float64Array<ArrayBuffer>;
}

/**
 * The times of the entries, by slot. Three of them, of which most caches need one:
 *
 *     stored ──────────── refreshAt ──────────── freshUntil ─────────── keptUntil
 *             served                 served, and              served by           removed
 *                                    refreshed by loads       loads only
 *
 * An idle time moves `freshUntil` at each use, up to `cap`, which is when `ttlMs` is over.
 */
export class Lifetimes {
  /** When the entry is over, for everything but loads. Public since every look-up reads it. */
  freshUntil: Float64Array<ArrayBuffer>;
  /** When it is removed: one array with `freshUntil` until an entry is kept for longer. */
  readonly #keptUntil: DeadlineHeap;
  /** Undefined until an entry has an idle time. */
  #idle: IdleTimes | undefined;
  /** Undefined until an entry is to be refreshed. */
  #refreshAt: Float64Array<ArrayBuffer> | undefined;
  /** Undefined until a refresh has failed. */
  #retryAt: Float64Array<ArrayBuffer> | undefined;
  #slots: number;

  constructor(slots: number, wide: boolean) {
    this.#slots = slots;
    this.#keptUntil = new DeadlineHeap(slots, wide);
    this.freshUntil = this.#keptUntil.deadlines;
  }

  grow(slots: number): void {
    const keepsStale = this.keepsStale;
    this.#slots = slots;
    this.#keptUntil.grow(slots);
    this.freshUntil = keepsStale ? grow(this.freshUntil, slots) : this.#keptUntil.deadlines;
    if (this.#idle !== undefined) {
      this.#idle = { ms: grow(this.#idle.ms, slots), cap: grow(this.#idle.cap, slots) };
    }
    if (this.#refreshAt !== undefined) this.#refreshAt = grow(this.#refreshAt, slots);
    if (this.#retryAt !== undefined) this.#retryAt = grow(this.#retryAt, slots, -Infinity);
  }

  /** The life of the slot's entry begins. */
  start(slot: number, now: number, { ttlMs, idleMs, staleMs, refreshRatio }: Lifetime): void {
    const cap = now + ttlMs;
    const freshUntil = idleMs < ttlMs ? now + idleMs : cap;
    if (idleMs < ttlMs) this.#idle ??= { ms: filled(this.#slots, Infinity), cap: filled(this.#slots, Infinity) };
    if (this.#idle !== undefined) {
      this.#idle.ms[slot] = idleMs < ttlMs ? idleMs : Infinity;
      this.#idle.cap[slot] = cap;
    }
    if (this.#retryAt !== undefined) this.#retryAt[slot] = -Infinity;
    if (refreshRatio < 1) this.#refreshAt ??= filled(this.#slots, Infinity);
    if (this.#refreshAt !== undefined) {
      this.#refreshAt[slot] = refreshRatio < 1 ? now + ttlMs * refreshRatio : Infinity;
    }
    this.#set(slot, freshUntil, staleMs);
  }

  /** The same for an entry with nothing but a TTL, Infinity among them; the fast way where nothing else was ever used. */
  startPlain(slot: number, deadline: number): void {
    if (this.#idle !== undefined) this.#idle.ms[slot] = Infinity;
    if (this.#refreshAt !== undefined) this.#refreshAt[slot] = Infinity;
    if (this.#retryAt !== undefined) this.#retryAt[slot] = -Infinity;
    if (this.keepsStale) this.freshUntil[slot] = deadline;
    this.#keptUntil.set(slot, deadline);
  }

  /** False if the entry is over by now. Else it is used: its idle time, if it has one, starts anew. */
  useInTime(slot: number, now: number): boolean {
    // Not `<=`: by a clock that gives NaN, what can expire has.
    if (!(this.freshUntil[slot]! > now)) return false;
    if (this.#idle !== undefined) this.#startIdleAnew(slot, now, this.#idle);
    return true;
  }

  /** The slot's entry is gone. */
  end(slot: number): void {
    this.#keptUntil.deadlines[slot] = Infinity;
    this.freshUntil[slot] = Infinity;
  }

  /** Whether an entry was ever kept for longer than it was fresh. */
  get keepsStale(): boolean {
    return this.freshUntil !== this.#keptUntil.deadlines;
  }

  keptUntil(slot: number): number {
    return this.#keptUntil.deadlines[slot]!;
  }

  /** Its idle time; Infinity when it has none. */
  idleMs(slot: number): number {
    return this.#idle === undefined ? Infinity : this.#idle.ms[slot]!;
  }

  /** When its TTL is over, used or not. */
  cap(slot: number): number {
    return this.idleMs(slot) === Infinity ? this.freshUntil[slot]! : this.#idle!.cap[slot]!;
  }

  refreshAt(slot: number): number {
    return this.#refreshAt === undefined ? Infinity : this.#refreshAt[slot]!;
  }

  /** Until when it is not loaded, since a load of it failed; -Infinity: none has. */
  retryAt(slot: number): number {
    return this.#retryAt === undefined ? -Infinity : this.#retryAt[slot]!;
  }

  setRetryAt(slot: number, time: number): void {
    this.#retryAt ??= filled(this.#slots, -Infinity);
    this.#retryAt[slot] = time;
  }

  /** The earliest time at which an entry may have to be removed. */
  get nextFloor(): number {
    return this.#keptUntil.nextFloor;
  }

  /** A slot whose entry has to be removed, 0, or UNDECIDED. @see DeadlineHeap.firstPassed */
  firstPassed(now: number, repairs: number): number {
    return this.#keptUntil.firstPassed(now, repairs);
  }

  /** How many entries should have been removed by now, and the sum of their sizes. One pass over memory, or two. */
  passed(now: number, sizes: ArrayLike<number> | undefined): { count: number; bytes: number } {
    const { deadlines } = this.#keptUntil;
    let live = 0;
    for (let slot = 0; slot < deadlines.length; slot++) {
      // By a clock that gives NaN, what can expire has.
      live += deadlines[slot]! > now || deadlines[slot] === Infinity ? 1 : 0;
    }
    let bytes = 0;
    if (sizes !== undefined) {
      for (let slot = 0; slot < deadlines.length; slot++) {
        bytes += deadlines[slot]! > now || deadlines[slot] === Infinity ? 0 : sizes[slot]!;
      }
    }
    return { count: deadlines.length - live, bytes };
  }

  #startIdleAnew(slot: number, now: number, { ms, cap }: IdleTimes): void {
    const idleMs = ms[slot]!;
    if (idleMs === Infinity) return;
    const staleMs = this.keptUntil(slot) - this.freshUntil[slot]!;
    this.#set(slot, Math.min(now + idleMs, cap[slot]!), staleMs);
  }

  #set(slot: number, freshUntil: number, staleMs: number): void {
    if (staleMs > 0 && !this.keepsStale) this.freshUntil = this.#keptUntil.deadlines.slice();
    this.#keptUntil.set(slot, freshUntil + staleMs);
    // Last: as long as it is one array with the deadlines, what the heap compares with must not be overwritten.
    this.freshUntil[slot] = freshUntil;
  }
}

function filled(slots: number, time: number): Float64Array<ArrayBuffer> {
  return new Float64Array(slots).fill(time);
}

function grow(array: Float64Array<ArrayBuffer>, slots: number, filler = Infinity): Float64Array<ArrayBuffer> {
  const grown = filled(slots, filler);
  grown.set(array);
  return grown;
}
