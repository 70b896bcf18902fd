import { isWide } from "../entries/slot-array.ts";
import type { EvictionPolicy, PolicySettings } from "./eviction-policy.ts";
import { SlotRings } from "./slot-rings.ts";

/** The ring of all slots, the most recently used one first. */
const USE = 0;

/** Exact LRU: the least recently used entry gives way. */
export class LruPolicy extends SlotRings implements EvictionPolicy {
  constructor({ wide }: PolicySettings) {
    super(1, wide);
  }

  override grow(slots: number): void {
    super.grow(slots, isWide(slots));
  }

  insert(slot: number): void {
    this.insertFirst(USE, slot);
  }

  touch(slot: number): void {
    this.moveFirst(USE, slot);
  }

  reuse(slot: number): void {
    this.moveFirst(USE, slot);
  }

  victim(): number {
    return this.last(USE);
  }

  slots(limit: number): number[] {
    const slots: number[] = [];
    this.collect(USE, slots, limit);
    return slots;
  }
}
