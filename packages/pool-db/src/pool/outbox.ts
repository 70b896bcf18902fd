import type { RemovalReason } from "./pool-stats.ts";
import type { PoolListener } from "./resource.ts";

/**
 * Events that wait until the pool's state is whole. A listener may call the pool: were it told in the middle of a
 * change, it could take a connection that is about to be closed.
 *
 * An event is three entries of a list that is kept, because one is posted at every acquire and release: a closure or an
 * object for each would be a third of what these allocate.
 */
export class Outbox<R> {
  readonly #listener: PoolListener<R>;
  readonly #posted: unknown[] = [];
  /** How many entries of the list are in use. It is emptied by overwriting: a length of 0 would give its memory up. */
  #used = 0;
  #delivering = false;

  constructor(listener: PoolListener<R>) {
    this.#listener = listener;
  }

  /** `about`: what the listener is told; `detail`: and its second argument. What has no listener is not posted. */
  post(event: keyof PoolListener<R>, about: unknown, detail?: unknown): void {
    if (this.#listener[event] === undefined) return;
    this.#posted[this.#used++] = event;
    this.#posted[this.#used++] = about;
    this.#posted[this.#used++] = detail;
  }

  /** Tells what was posted, in its order; what a listener causes comes last. */
  deliver(): void {
    if (this.#delivering || this.#used === 0) return;
    this.#delivering = true;
    for (let next = 0; next < this.#used; next += 3) {
      try {
        this.#tell(this.#posted[next] as keyof PoolListener<R>, this.#posted[next + 1], this.#posted[next + 2]);
      } catch (error) {
        throwLater(error);
      }
    }
    this.#posted.fill(undefined, 0, this.#used);
    this.#used = 0;
    this.#delivering = false;
  }

  #tell(event: keyof PoolListener<R>, about: unknown, detail: unknown): void {
    const listener = this.#listener;
    if (event === "acquired") listener.acquired?.(about as R);
    else if (event === "released") listener.released?.(about as R, detail);
    else if (event === "created") listener.created?.(about as R);
    else if (event === "removed") listener.removed?.(about as R, detail as RemovalReason);
    else if (event === "idleLost") listener.idleLost?.(about as R, detail as Error);
    else listener.createFailed?.(about);
  }
}

/** Runs a listener. What it throws is reported as an uncaught error, and is nobody else's. */
export function tell(event: () => void): void {
  try {
    event();
  } catch (error) {
    throwLater(error);
  }
}

function throwLater(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}
