import { LeaseReleasedError } from "../errors.ts";

/**
 * The states of a slot:
 *
 *     connecting ──► idle ◄──► validating
 *                     ▲ │
 *           resetting │ ▼
 *                 ▲── leased
 *
 * and from each of them to `gone`, which is final. Every slot but a gone one counts against the pool's maximum.
 */
export type SlotState = "connecting" | "idle" | "validating" | "leased" | "resetting" | "gone";

/** One place in the pool, from the first attempt to open a resource until it has left. Only the pool writes to it. */
export class Slot<R> {
  state: SlotState = "gone";
  /** Set from the end of `connecting` on. */
  resource: R | undefined = undefined;
  /** When the work of this state (connecting, validating, resetting) is given up. */
  deadline: number = Infinity;
  /** Its check has been silent for so long that nobody counts on it any more. */
  doubtful = false;
  /** The end of its life, drawn once: a jitter that is drawn at every look would shorten every life to its minimum. */
  expiresAt: number = Infinity;
  idleSince = 0;
  acquiredAt = 0;
  uses = 0;
  /** Stops the dial. */
  readonly dialing: AbortController = new AbortController();
  lease: Lease<R> | undefined = undefined;
}

/**
 * The right to use a resource until `release()`. A resource that dies while it is lent leaves the pool at once, so a
 * holder that never releases cannot drain the pool; its release is then only noted.
 */
export class Lease<R> {
  readonly resource: R;
  readonly #poolName: string;
  readonly #onRelease: (lease: Lease<R>, discard: unknown) => void;
  #released = false;

  constructor(resource: R, poolName: string, onRelease: (lease: Lease<R>, discard: unknown) => void) {
    this.resource = resource;
    this.#poolName = poolName;
    this.#onRelease = onRelease;
  }

  get released(): boolean {
    return this.#released;
  }

  /**
   * Gives the resource back; anything truthy as `discard` (an error, `true`) says that it must not be used again.
   * @throws {LeaseReleasedError} at the second call
   */
  release(discard?: unknown): void {
    if (this.#released) {
      throw new LeaseReleasedError(
        this.#poolName,
        "release() called on a connection which has already been released to the pool. Release each connection once, in one finally block.",
      );
    }
    this.#released = true;
    this.#onRelease(this, discard);
  }
}
