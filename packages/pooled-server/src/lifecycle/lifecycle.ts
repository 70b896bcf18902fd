import { EventEmitter } from "node:events";

/**
 * - `starting`: not listening yet, or the first checks are still out
 * - `ready`: listening, every check passes
 * - `degraded`: listening, a check fails; still serves
 * - `draining`: `close()` was called; no new work
 * - `closed`: the end
 */
export type LifecycleState = "starting" | "ready" | "degraded" | "draining" | "closed";

const MAY_FOLLOW: Record<LifecycleState, readonly LifecycleState[]> = {
  starting: ["ready", "degraded", "draining"],
  ready: ["degraded", "draining"],
  degraded: ["ready", "draining"],
  draining: ["closed"],
  closed: [],
};

/** The one truth about where the server is in its life. Emits `change(state, previous)`. */
export class Lifecycle extends EventEmitter<{ change: [state: LifecycleState, previous: LifecycleState] }> {
  #state: LifecycleState = "starting";

  get state(): LifecycleState {
    return this.#state;
  }

  /** Whether new requests are served. */
  get serving(): boolean {
    return this.#state === "ready" || this.#state === "degraded";
  }

  /** Goes to `next` where that is allowed, and says whether it did. A state never follows itself. */
  to(next: LifecycleState): boolean {
    if (!MAY_FOLLOW[this.#state].includes(next)) return false;
    const previous = this.#state;
    this.#state = next;
    this.emit("change", next, previous);
    return true;
  }
}
