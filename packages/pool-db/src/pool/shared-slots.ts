import type { Slot } from "./slot.ts";

export interface SharingLimits {
  readonly maxShares: number;
  readonly maxShareAgeMs: number;
  readonly maxUses: number;
}

/** The slots in the state "shared", and which of them may take one more holder. */
export class SharedSlots<R> {
  readonly #slots: Slot<R>[] = [];
  #joined = 0;

  /** Holders beyond the first of each slot: those who would have a resource of their own if there were more. */
  get joined(): number {
    return this.#joined;
  }

  /** Its first holder has come. */
  add(slot: Slot<R>): void {
    this.#slots.push(slot);
  }

  /** One more holder has come; it begins when those before it have been answered. */
  join(slot: Slot<R>): void {
    slot.holders++;
    this.#joined++;
  }

  /** One of several holders has left, so it is the next one's turn. */
  leave(slot: Slot<R>, now: number): void {
    this.#joined--;
    slot.turnSince = now;
  }

  /** It is not shared any more, whoever still holds it. */
  remove(slot: Slot<R>): void {
    this.#joined -= Math.max(0, slot.holders - 1);
    // The order does not matter, so the last one may take its place.
    const last = this.#slots.pop() as Slot<R>;
    if (last !== slot) this.#slots[this.#slots.indexOf(slot)] = last;
  }

  /**
   * The one with the fewest holders that takes another, or `undefined`. Nobody joins behind something slow, and what is
   * to be closed (retired, used up, past its life) takes no new holders, or it would never come back.
   */
  roomiest(now: number, { maxShares, maxShareAgeMs, maxUses }: SharingLimits): Slot<R> | undefined {
    let roomiest: Slot<R> | undefined;
    let fewest = maxShares;
    for (const slot of this.#slots) {
      if (slot.holders >= fewest || now - slot.turnSince > maxShareAgeMs) continue;
      if (slot.retired !== undefined || slot.expiresAt <= now || slot.uses >= maxUses) continue;
      roomiest = slot;
      fewest = slot.holders;
    }
    return roomiest;
  }
}
