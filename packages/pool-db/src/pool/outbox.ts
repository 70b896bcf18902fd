import type { CallSite } from "../call-site.ts";
import type { RemovalReason } from "./pool-stats.ts";
import type { PoolListener } from "./resource.ts";

/**
 * Events that wait until the pool's state is whole. A listener may call the pool: were it told in the middle of a
 * change, it could take a connection that is about to be closed.
 *
 * An event is four entries of a list that is kept, because one is posted at every acquire and release: a closure or an
 * object for each would be a third of what these allocate.
 */
export class Outbox<R> {
  readonly listener: PoolListener<R>;
  readonly #posted: unknown[] = [];
  /** How many entries of the list are in use. It is emptied by overwriting: a length of 0 would give its memory up. */
  #used = 0;
  #delivering = false;

  constructor(listener: PoolListener<R>) {
    this.listener = listener;
  }

  /** The listener's arguments, in its order. What has no listener is not posted. */
  post(event: keyof PoolListener<R>, about: unknown, detail?: unknown, ms?: number): void {
    if (this.listener[event] === undefined) return;
    this.#posted[this.#used++] = event;
    this.#posted[this.#used++] = about;
    this.#posted[this.#used++] = detail;
    this.#posted[this.#used++] = ms;
  }

  /** Tells what was posted, in its order; what a listener causes comes last. */
  deliver(): void {
    if (this.#delivering || this.#used === 0) return;
    this.#delivering = true;
    for (let next = 0; next < this.#used; next += 4) {
      try {
        this.#tell(next);
      } catch (error) {
        throwLater(error);
      }
    }
    while (this.#used > 0) this.#posted[--this.#used] = undefined;
    this.#delivering = false;
  }

  /** Of the event that begins at this entry. */
  #tell(entry: number): void {
    const listener = this.listener;
    const event = this.#posted[entry] as keyof PoolListener<R>;
    const resource = this.#posted[entry + 1] as R;
    const detail = this.#posted[entry + 2];
    const ms = this.#posted[entry + 3] as number;
    if (event === "acquired") listener.acquired?.(resource, ms);
    else if (event === "released") listener.released?.(resource, detail, ms);
    else if (event === "created") listener.created?.(resource, ms);
    else if (event === "removed") listener.removed?.(resource, detail as RemovalReason);
    else if (event === "idleLost") listener.idleLost?.(resource, detail as Error);
    else if (event === "createFailed") listener.createFailed?.(resource, ms);
    else if (event === "timedOut") listener.timedOut?.(resource as Error, ms);
    else if (event === "refused") listener.refused?.(resource as Error);
    else if (event === "lentLost") listener.lentLost?.(resource, detail as Error, ms);
    else if (event === "leaked") listener.leaked?.(resource, detail as CallSite, ms);
    else listener.leakReturned?.(resource, detail as boolean, ms);
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
