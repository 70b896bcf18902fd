import { channels } from "./diagnostics.ts";
import { CacheCallbackError } from "./errors.ts";
import type { Counters } from "./stats.ts";

/**
 * Why a value left.
 * - `"capacity"`: room for another entry was needed (or `resize`), and the policy chose it; LRU: the least recently used
 * - `"bytes"`: the same, for want of bytes under `maxBytes`
 * - `"expired"`: its time was over, whatever call found that out
 * - `"deleted"`: `delete(key)`
 * - `"replaced"`: another value of its key took its place, or was too large to, or was loaded and not to be stored
 * - `"cleared"`: `clear()`
 */
export type EvictionReason = "capacity" | "bytes" | "expired" | "deleted" | "replaced" | "cleared";

interface Eviction<K, V> {
  readonly key: K;
  readonly value: V;
  readonly reason: EvictionReason;
}

/**
 * Tells `onEvict`, and the channel `vg:cache:evict`, once of each value that left, in the order in which they left, after
 * the cache is consistent again.
 *
 * A change of the cache queues what left and delivers at its end. A change made inside a callback queues behind what is
 * being delivered and is not delivered inside it: callbacks never nest, so they can't overflow the stack or see each
 * other half done. What a callback throws goes to `onError`, or else once to a process warning.
 */
export class Departures<K, V> {
  readonly #counters: Counters;
  readonly #name: string;
  readonly #label: string;
  /** Undefined: nobody but subscribers of the channel listens. */
  readonly #onEvict: ((key: K, value: V, reason: EvictionReason) => void | Promise<void>) | undefined;
  readonly #onError: ((error: CacheCallbackError) => void | Promise<void>) | undefined;
  #queue: Eviction<K, V>[] = [];
  #delivering = false;
  #warned = false;

  constructor(
    name: string,
    label: string,
    counters: Counters,
    onEvict: ((key: K, value: V, reason: EvictionReason) => void | Promise<void>) | undefined,
    onError: ((error: CacheCallbackError) => void | Promise<void>) | undefined,
  ) {
    this.#name = name;
    this.#label = label;
    this.#counters = counters;
    this.#onEvict = onEvict;
    this.#onError = onError;
  }

  /** Whether `add` makes sense: it costs as much as the rest of an eviction. */
  get isObserved(): boolean {
    return this.#onEvict !== undefined || channels.evict.hasSubscribers;
  }

  add(key: K, value: V, reason: EvictionReason): void {
    this.#queue.push({ key, value, reason });
  }

  deliver(): void {
    if (this.#queue.length === 0 || this.#delivering) return;
    this.#delivering = true;
    try {
      while (this.#queue.length > 0) {
        const batch = this.#queue;
        this.#queue = [];
        for (const eviction of batch) this.#call(eviction);
      }
    } finally {
      this.#delivering = false;
    }
  }

  #call({ key, value, reason }: Eviction<K, V>): void {
    if (channels.evict.hasSubscribers) channels.evict.publish({ cache: this.#name, key, value, reason });
    if (this.#onEvict === undefined) return;
    try {
      handleRejection(this.#onEvict(key, value, reason), (error) => this.#report("onEvict", reason, error));
    } catch (error) {
      this.#report("onEvict", reason, error);
    }
  }

  /** Never throws: it runs between two callbacks. */
  #report(callback: "onEvict" | "onError", reason: EvictionReason, cause: unknown): void {
    this.#counters.callbackErrors++;
    const error = new CacheCallbackError(
      `${this.#label}: ${callback} failed for a value that left as "${reason}". The cache is unharmed; ` +
        `the callback must handle its own errors.`,
      { cause },
    );
    if (callback === "onEvict" && this.#onError !== undefined) {
      try {
        handleRejection(this.#onError(error), (second) => this.#report("onError", reason, second));
      } catch (second) {
        this.#report("onError", reason, second);
      }
    } else if (!this.#warned) {
      // Once a cache: a callback that always fails would otherwise flood the log.
      this.#warned = true;
      process.emitWarning(error);
    }
  }
}

/** A callback that is async, or gives any other thenable, must not bring the process down by an unhandled rejection. */
function handleRejection(result: unknown, handle: (error: unknown) => void): void {
  if (typeof result === "object" && result !== null) Promise.resolve(result).catch(handle);
}
