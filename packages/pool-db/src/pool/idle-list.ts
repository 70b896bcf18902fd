import type { Slot } from "./slot.ts";

export interface IdleLimits {
  readonly maxIdle: number;
  readonly maxIdleTrimDelayMs: number;
}

/**
 * The free slots, the longest unused first. Lending from the end lets the surplus age at the beginning.
 *
 * What is over `maxIdle` is trimmed lazily: the list notes the fewest free slots within a window of `trimDelayMs`, and
 * only what was surplus even then was not needed at any moment of it. Closing a surplus connection at its return, as Go
 * does (a delay of 0 here), makes bursty traffic pay for a login again and again.
 */
export class IdleList<R> {
  readonly #slots: Slot<R>[] = [];
  readonly #limits: IdleLimits;
  /** The fewest that were free since the window began. */
  #fewest = 0;
  /** When the window ends; `Infinity` while nothing is surplus. */
  #trimAt = Infinity;

  /** The limits may change; `limitsChanged()` says so. */
  constructor(limits: IdleLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#slots.length;
  }

  get trimAt(): number {
    return this.#trimAt;
  }

  get oldest(): Slot<R> | undefined {
    return this.#slots[0];
  }

  get newest(): Slot<R> | undefined {
    return this.#slots.at(-1);
  }

  push(slot: Slot<R>, now: number): void {
    this.#slots.push(slot);
    if (this.#trimAt === Infinity) this.#watchSurplus(now);
  }

  pop(): Slot<R> | undefined {
    const slot = this.#slots.pop();
    this.#fewest = Math.min(this.#fewest, this.#slots.length);
    return slot;
  }

  remove(slot: Slot<R>): void {
    const index = this.#slots.lastIndexOf(slot);
    if (index === -1) return;
    this.#slots.splice(index, 1);
    this.#fewest = Math.min(this.#fewest, this.#slots.length);
  }

  /** Ends a window that is over, and returns the slots to close. They are still in the list. */
  surplus(now: number): Slot<R>[] {
    if (this.#trimAt > now) return [];
    const surplus = this.#slots.slice(0, Math.max(0, this.#fewest - this.#limits.maxIdle));
    const left = this.#slots.length - surplus.length;
    this.#fewest = left;
    this.#trimAt = left > this.#limits.maxIdle ? now + this.#limits.maxIdleTrimDelayMs : Infinity;
    return surplus;
  }

  /** A window begins anew. */
  limitsChanged(now: number): void {
    this.#trimAt = Infinity;
    this.#watchSurplus(now);
  }

  #watchSurplus(now: number): void {
    if (this.#slots.length <= this.#limits.maxIdle) return;
    this.#fewest = this.#slots.length;
    this.#trimAt = now + this.#limits.maxIdleTrimDelayMs;
  }
}
