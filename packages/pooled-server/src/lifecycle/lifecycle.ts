import { publishState } from "./diagnostics.ts";

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

/** Called at a change of state. `reason` says why, where there is more to say than that somebody asked for it. */
export type StateListener = (state: LifecycleState, previous: LifecycleState, reason: string | undefined) => unknown;

interface Change {
  readonly state: LifecycleState;
  readonly previous: LifecycleState;
  readonly reason: string | undefined;
}

/** The one truth about where the server is in its life. */
export class Lifecycle {
  #state: LifecycleState = "starting";
  #started = false;
  readonly #listeners = new Set<{ listener: StateListener }>();
  readonly #untold: Change[] = [];
  #telling = false;
  readonly #name: string;
  readonly #onListenerError: (error: unknown) => void;

  /**
   * @param name the server's, for `vg:pooled-server:state`
   * @param onListenerError gets what a listener throws or rejects with: it must not stop a start or a shutdown
   */
  constructor(name: string, onListenerError: (error: unknown) => void) {
    this.#name = name;
    this.#onListenerError = onListenerError;
  }

  /** Calls `listener` at every change from now on, in the order of the changes; the result takes it off. */
  onChange(listener: StateListener): () => void {
    // An entry of its own: the same function registered twice is two listeners.
    const entry = { listener };
    this.#listeners.add(entry);
    return () => void this.#listeners.delete(entry);
  }

  get state(): LifecycleState {
    return this.#state;
  }

  /** Whether new requests are served. */
  get serving(): boolean {
    return this.#state === "ready" || this.#state === "degraded";
  }

  /** Whether it was ever ready or degraded. */
  get started(): boolean {
    return this.#started;
  }

  /** Goes to `next` where that is allowed, and says whether it did. A state never follows itself. */
  to(next: LifecycleState, reason?: string): boolean {
    if (!MAY_FOLLOW[this.#state].includes(next)) return false;
    this.#untold.push({ state: next, previous: this.#state, reason });
    this.#state = next;
    if (this.serving) this.#started = true;
    // A listener that causes the next change must not make the others hear of it before this one.
    if (!this.#telling) this.#tellAll();
    return true;
  }

  #tellAll(): void {
    this.#telling = true;
    for (let change = this.#untold.shift(); change !== undefined; change = this.#untold.shift()) {
      publishState({ server: this.#name, ...change });
      // Who is added by one of them hears of the next change first.
      const listeners = [...this.#listeners];
      for (const { listener } of listeners) this.#tell(listener, change);
    }
    this.#telling = false;
  }

  #tell(listener: StateListener, { state, previous, reason }: Change): void {
    try {
      // An async listener that fails would end the process.
      Promise.resolve(listener(state, previous, reason)).catch((error: unknown) => this.#report(error));
    } catch (error) {
      this.#report(error);
    }
  }

  #report(error: unknown): void {
    try {
      this.#onListenerError(error);
    } catch {
      // Nobody is left to tell.
    }
  }
}
