import { LeaseReleasedError } from "../errors.ts";
import type { RemovalReason } from "./pool-stats.ts";

/**
 * The states of a slot:
 *
 *     connecting ──► idle ◄──► validating
 *                     ▲ │
 *           resetting │ ▼
 *                 ▲── leased or shared
 *
 * and from each of them to `gone`, which is final. Every slot but a gone one counts against the pool's maximum.
 */
export type SlotState = "connecting" | "idle" | "validating" | "leased" | "shared" | "resetting" | "gone";

/** Where a lease goes back to. */
export interface Lender<R> {
  readonly name: string;
  takeBack(lease: Lease<R>, discard: unknown): void;
}

/** One place in the pool, from the first attempt to open a resource until it has left. Only the pool writes to it. */
export class Slot<R> {
  readonly lender: Lender<R>;
  state: SlotState = "gone";
  /** Set from the end of `connecting` on. */
  resource: R | undefined = undefined;
  /** When the work of this state (connecting, validating, resetting) is given up. */
  deadline: number = Infinity;
  /** Its check has been silent for so long that nobody counts on it any more. */
  doubtful = false;
  /** When its resource was open; before that, when its dial began. */
  openedAt = 0;
  /** Its part of the pool's `maxLifetimeMs`, drawn once: drawn at every look, it would shorten every life to its minimum. */
  lifeShare = 1;
  expiresAt: number = Infinity;
  idleSince = 0;
  /** Since when it has been lent without a break. */
  acquiredAt = 0;
  uses = 0;
  /** Leases that have not been released: 1 when leased, up to the pool's `maxShares` when shared. */
  holders = 0;
  /** While shared: since when the one whose turn it is has been at it. */
  turnSince = 0;
  /** Why it will be closed when it comes back, whatever its state then. It takes no more holders. */
  retired: RemovalReason | undefined = undefined;
  /** What a holder said when it released the resource as unusable. */
  discard: unknown = undefined;
  /** Stops the dial. */
  readonly dialing: AbortController = new AbortController();

  constructor(lender: Lender<R>) {
    this.lender = lender;
  }
}

/**
 * The right to use a resource until `release()`: alone, or together with others if it was asked for as shared. When a
 * resource dies while it is lent its slot is free at once, so a holder that never releases cannot drain the pool; the
 * release is then only noted.
 */
export class Lease<R> {
  readonly resource: R;
  /** Where it comes from; for the pool alone. */
  readonly slot: Slot<R>;
  #released = false;

  constructor(slot: Slot<R>, resource: R) {
    this.slot = slot;
    this.resource = resource;
  }

  get released(): boolean {
    return this.#released;
  }

  /**
   * Gives the resource back; anything truthy as `discard` (an error, `true`) says that it must not be used again.
   * @throws {LeaseReleasedError} at the second call
   */
  release(discard?: unknown): void {
    const { lender } = this.slot;
    if (this.#released) {
      throw new LeaseReleasedError(
        lender.name,
        "release() called on a connection which has already been released to the pool. Release each connection once, in one finally block.",
      );
    }
    this.#released = true;
    lender.takeBack(this, discard);
  }
}
