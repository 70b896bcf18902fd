import { CacheLoadAbandonedError } from "../errors.ts";

/**
 * One call of a loader, for one key or for several. It runs until its work ends, its time is over, or nobody holds it:
 * a caller that waits holds it, and so does the cache itself while it loads in the background.
 */
export class Run {
  readonly startedAt: number;
  readonly label: string;
  readonly #controller = new AbortController();
  readonly #onAbandoned: () => void;
  #holders = 0;
  /** One of the holders is the cache. */
  #isOfCache = false;
  /** What it gives from now on comes too late. */
  isOver = false;

  constructor(label: string, startedAt: number, onAbandoned: () => void) {
    this.label = label;
    this.startedAt = startedAt;
    this.#onAbandoned = onAbandoned;
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** The first caller takes it over from the cache: else one that hangs would hold its key for ever. */
  hold(): void {
    if (this.#isOfCache) this.#isOfCache = false;
    else this.#holders++;
  }

  holdForCache(): void {
    this.#isOfCache = true;
    this.#holders++;
  }

  /** Ends the run unless a caller has taken it over. */
  releaseFromCache(): void {
    if (this.#isOfCache) this.release(undefined);
  }

  /** Ends the run if nobody else holds it. */
  release(reason: unknown): void {
    if (--this.#holders > 0 || this.isOver) return;
    this.isOver = true;
    this.#onAbandoned();
    this.abort(
      new CacheLoadAbandonedError(`${this.label}: every caller that waited for this load has left`, { cause: reason }),
    );
  }

  abort(reason: unknown): void {
    this.#controller.abort(reason);
  }
}

/** What became of a key: its value, or that it has none. */
export interface Landed<V> {
  readonly value: V;
  /** The loader of several keys had none for this one. */
  readonly isAbsent: boolean;
}

interface Waiter<V> {
  readonly resolve: (landed: Landed<V>) => void;
  readonly reject: (reason: unknown) => void;
}

/** One key's part of a run, and the callers that wait for it. */
export class Flight<V> {
  readonly run: Run;
  readonly #waiters = new Set<Waiter<V>>();

  constructor(run: Run) {
    this.run = run;
  }

  /** A promise of its own for each caller, so that one who leaves leaves nothing behind on a run that goes on. */
  wait(signal: AbortSignal | undefined): Promise<Landed<V>> {
    this.run.hold();
    return new Promise<Landed<V>>((resolve, reject) => {
      if (signal === undefined) {
        this.#waiters.add({ resolve, reject });
        return;
      }
      const leave = (): void => {
        this.#waiters.delete(waiter);
        reject(signal.reason);
        this.run.release(signal.reason);
      };
      const stay = (): void => signal.removeEventListener("abort", leave);
      const waiter: Waiter<V> = {
        resolve: (landed) => {
          stay();
          resolve(landed);
        },
        reject: (reason) => {
          stay();
          reject(reason);
        },
      };
      this.#waiters.add(waiter);
      // What has run since the call began, the loader too, may have aborted it: there is no event for that.
      if (signal.aborted) leave();
      else signal.addEventListener("abort", leave, { once: true });
    });
  }

  /** Returns how many waited. */
  land(landed: Landed<V>): number {
    const { size } = this.#waiters;
    for (const waiter of this.#waiters) waiter.resolve(landed);
    this.#waiters.clear();
    return size;
  }

  fail(reason: unknown): void {
    for (const waiter of this.#waiters) waiter.reject(reason);
    this.#waiters.clear();
  }
}
