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

type Listener = (state: LifecycleState, previous: LifecycleState) => void;

/** The one truth about where the server is in its life. */
export class Lifecycle {
  #state: LifecycleState = "starting";
  readonly #listeners: Listener[] = [];
  readonly #onListenerError: (error: unknown) => void;

  /** @param onListenerError gets what a listener throws: it must not stop a start or a shutdown */
  constructor(onListenerError: (error: unknown) => void) {
    this.#onListenerError = onListenerError;
  }

  onChange(listener: Listener): void {
    this.#listeners.push(listener);
  }

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
    for (const listener of this.#listeners) {
      try {
        listener(next, previous);
      } catch (error) {
        this.#onListenerError(error);
      }
    }
    return true;
  }
}
