import { SharedSlots } from "./shared-slots.ts";
import { Slot, type Lender, type SlotState } from "./slot.ts";

/** Every slot that is not gone, and how many of them are in each state. The only place that changes a slot's state. */
export class SlotTable<R> {
  readonly shared: SharedSlots<R> = new SharedSlots();
  readonly #slots = new Set<Slot<R>>();
  readonly #in: Record<SlotState, number> = {
    connecting: 0,
    idle: 0,
    validating: 0,
    leased: 0,
    shared: 0,
    resetting: 0,
    gone: 0,
  };
  #doubtful = 0;

  get size(): number {
    return this.#slots.size;
  }

  /** Lent, or being cleaned after it. */
  get inUse(): number {
    return this.#in.leased + this.#in.shared + this.#in.resetting;
  }

  /** Free, or being checked. */
  get idle(): number {
    return this.#in.idle + this.#in.validating;
  }

  get connecting(): number {
    return this.#in.connecting;
  }

  /** Checks that have been silent for so long that nobody counts on them any more. */
  get doubtful(): number {
    return this.#doubtful;
  }

  /** Checks that are likely to bring a resource. */
  get promising(): number {
    return this.#in.validating - this.#doubtful;
  }

  /** Bears removals and additions on the way. */
  [Symbol.iterator](): IterableIterator<Slot<R>> {
    return this.#slots.values();
  }

  /** A new slot, connecting. */
  open(lender: Lender<R>): Slot<R> {
    const slot = new Slot(lender);
    this.#slots.add(slot);
    this.move(slot, "connecting");
    return slot;
  }

  move(slot: Slot<R>, state: SlotState): void {
    if (slot.state === "shared") this.shared.remove(slot);
    if (state === "shared") this.shared.add(slot);
    this.#in[slot.state]--;
    this.#in[state]++;
    slot.state = state;
    slot.deadline = Infinity;
    if (slot.doubtful) {
      slot.doubtful = false;
      this.#doubtful--;
    }
    if (state === "gone") this.#slots.delete(slot);
  }

  /** `slot` is being checked. */
  doubt(slot: Slot<R>): void {
    slot.doubtful = true;
    this.#doubtful++;
  }

  /** What has been lent for longest, or, while it is shared, to one holder; `undefined` when nothing is lent. */
  get oldestLent(): Slot<R> | undefined {
    let oldest: Slot<R> | undefined;
    for (const slot of this.#slots) {
      if (isInUse(slot) && (oldest === undefined || turnOf(slot) < turnOf(oldest))) oldest = slot;
    }
    return oldest;
  }

  /** How many are past their life. */
  expired(now: number): number {
    let count = 0;
    for (const { expiresAt } of this.#slots) if (expiresAt <= now) count++;
    return count;
  }
}

/** Lent, or being cleaned after it. */
export function isInUse({ state }: { readonly state: SlotState }): boolean {
  return state === "leased" || state === "shared" || state === "resetting";
}

/** Since when it has been in the hands of whoever has it now. */
export function turnOf({ state, turnSince, acquiredAt }: Slot<unknown>): number {
  return state === "shared" ? turnSince : acquiredAt;
}
