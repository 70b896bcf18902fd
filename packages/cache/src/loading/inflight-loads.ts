import { CacheLoadAbandonedError } from "../errors.ts";

/** What a loader is given. */
export interface LoadContext<K> {
  readonly key: K;
  /** Aborts when the last caller that waited for this load has left. */
  readonly signal: AbortSignal;
}

/** Who is told what came of a load. `ended` and `abandoned` exclude each other; one of them is called once a load. */
export interface LoadObserver {
  ended(ok: boolean): void;
  abandoned(): void;
}

interface Waiter<V> {
  readonly resolve: (value: V) => void;
  readonly reject: (reason: unknown) => void;
}

/**
 * The loads that run, at most one current one a key, and who waits for them.
 *
 * They live outside the entries, so no eviction can touch them. A load may write its value only while it is still the
 * one in the map: `fence(key)` takes it out, after which it still answers those who wait for it, and the next caller
 * starts anew. That is the whole protection against a value that was read before a change and would be stored after it.
 */
export class InflightLoads<K, V> {
  readonly #label: string;
  readonly #current = new Map<K, Load<V>>();

  constructor(label: string) {
    this.#label = label;
  }

  /** How many keys have a load that may still write. */
  get size(): number {
    return this.#current.size;
  }

  /** The key was changed: a load that runs for it must not write. */
  fence(key: K): void {
    this.#current.delete(key);
  }

  fenceAll(): void {
    this.#current.clear();
  }

  /** Waits for the load that runs for the key; undefined when there is none. */
  join(key: K, signal: AbortSignal | undefined): Promise<V> | undefined {
    return this.#current.get(key)?.wait(signal);
  }

  /**
   * Starts a load and waits for it.
   *
   * @param keep stores the value; called only if no fence came in between, and before any waiter gets the value
   */
  start(
    key: K,
    loader: (context: LoadContext<K>) => V | Promise<V>,
    keep: (value: V) => void,
    observer: LoadObserver,
    signal: AbortSignal | undefined,
  ): Promise<V> {
    const load = new Load<V>((reason) => {
      this.#retire(key, load);
      observer.abandoned();
      load.controller.abort(
        new CacheLoadAbandonedError(`${this.#label}: every caller that waited for this load has left`, {
          cause: reason,
        }),
      );
    });
    this.#current.set(key, load);
    const result = load.wait(signal);
    void this.#run(key, load, loader, keep, observer);
    return result;
  }

  /** Never rejects: every outcome goes to the waiters. */
  async #run(
    key: K,
    load: Load<V>,
    loader: (context: LoadContext<K>) => V | Promise<V>,
    keep: (value: V) => void,
    observer: LoadObserver,
  ): Promise<void> {
    try {
      const value = await loader({ key, signal: load.controller.signal });
      if (load.isAbandoned) return;
      if (this.#retire(key, load)) keep(value);
      observer.ended(true);
      load.resolve(value);
    } catch (error) {
      if (load.isAbandoned) return;
      this.#retire(key, load);
      observer.ended(false);
      load.reject(error);
    }
  }

  /** Takes the load out of the map; false when a fence was faster. */
  #retire(key: K, load: Load<V>): boolean {
    return this.#current.get(key) === load && this.#current.delete(key);
  }
}

/** One run of a loader, and its waiters. */
class Load<V> {
  readonly controller = new AbortController();
  readonly #waiters = new Set<Waiter<V>>();
  readonly #onAbandoned: (reason: unknown) => void;
  isAbandoned = false;

  constructor(onAbandoned: (reason: unknown) => void) {
    this.#onAbandoned = onAbandoned;
  }

  /** A promise of its own for each caller, so that one who leaves leaves nothing behind on a load that goes on. */
  wait(signal: AbortSignal | undefined): Promise<V> {
    return new Promise<V>((resolve, reject) => {
      if (signal === undefined) {
        this.#waiters.add({ resolve, reject });
        return;
      }
      const leave = (): void => {
        this.#waiters.delete(waiter);
        reject(signal.reason);
        if (this.#waiters.size > 0) return;
        this.isAbandoned = true;
        this.#onAbandoned(signal.reason);
      };
      const stay = (): void => signal.removeEventListener("abort", leave);
      const waiter: Waiter<V> = {
        resolve: (value) => {
          stay();
          resolve(value);
        },
        reject: (reason) => {
          stay();
          reject(reason);
        },
      };
      this.#waiters.add(waiter);
      signal.addEventListener("abort", leave, { once: true });
    });
  }

  resolve(value: V): void {
    for (const waiter of this.#waiters) waiter.resolve(value);
    this.#waiters.clear();
  }

  reject(reason: unknown): void {
    for (const waiter of this.#waiters) waiter.reject(reason);
    this.#waiters.clear();
  }
}
