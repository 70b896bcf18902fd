import { checkTime } from "../arguments.ts";
import { CacheLoadAbandonedError } from "../errors.ts";
import type { Clock } from "../options.ts";

/** What a loader is given. */
export interface LoadContext<K> {
  readonly key: K;
  /** Aborts when the last caller that waited for this load has left. */
  readonly signal: AbortSignal;
}

/** Is told once what came of each load. `durationMs` is how long it ran. */
export type LoadObserver = (outcome: "ok" | "failed" | "abandoned", durationMs: number) => void;

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
  /** How many loads run and have waiters, those that were fenced included. */
  running = 0;
  readonly #label: string;
  readonly #clock: Clock;
  readonly #observe: LoadObserver;
  readonly #current = new Map<K, Load<V>>();

  constructor(label: string, clock: Clock, observe: LoadObserver) {
    this.#label = label;
    this.#clock = clock;
    this.#observe = observe;
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
   * @throws {CacheConfigError} before the load starts, if the clock gives no time
   * @param keep stores the value; called only if no fence came in between, and before any waiter gets the value
   */
  start(
    key: K,
    loader: (context: LoadContext<K>) => V | Promise<V>,
    keep: (value: V) => void,
    signal: AbortSignal | undefined,
  ): Promise<V> {
    const startedAt = checkTime(this.#label, this.#clock.now());
    const load = new Load<V>(startedAt, (reason) => {
      this.#retire(key, load);
      this.#end(load, "abandoned");
      load.controller.abort(
        new CacheLoadAbandonedError(`${this.#label}: every caller that waited for this load has left`, {
          cause: reason,
        }),
      );
    });
    this.#current.set(key, load);
    this.running++;
    const result = load.wait(signal);
    void this.#run(key, load, loader, keep);
    return result;
  }

  /** Never rejects: every outcome goes to the waiters. */
  async #run(
    key: K,
    load: Load<V>,
    loader: (context: LoadContext<K>) => V | Promise<V>,
    keep: (value: V) => void,
  ): Promise<void> {
    try {
      const value = await loader({ key, signal: load.controller.signal });
      if (load.isAbandoned) return;
      if (this.#retire(key, load)) keep(value);
      this.#end(load, "ok");
      load.resolve(value);
    } catch (error) {
      if (load.isAbandoned) return;
      this.#retire(key, load);
      this.#end(load, "failed");
      load.reject(error);
    }
  }

  #end(load: Load<V>, outcome: "ok" | "failed" | "abandoned"): void {
    this.running--;
    this.#observe(outcome, this.#clock.now() - load.startedAt);
  }

  /** Takes the load out of the map; false when a fence was faster. */
  #retire(key: K, load: Load<V>): boolean {
    return this.#current.get(key) === load && this.#current.delete(key);
  }
}

/** One run of a loader, and its waiters. */
class Load<V> {
  readonly startedAt: number;
  readonly controller = new AbortController();
  readonly #waiters = new Set<Waiter<V>>();
  readonly #onAbandoned: (reason: unknown) => void;
  isAbandoned = false;

  constructor(startedAt: number, onAbandoned: (reason: unknown) => void) {
    this.startedAt = startedAt;
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
