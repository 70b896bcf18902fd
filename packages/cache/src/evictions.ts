import { CacheCallbackError } from "./errors.ts";

/**
 * Why a value left.
 * - `"capacity"`: the entry was the least recently used one, and room for another entry was needed (or `resize`)
 * - `"bytes"`: the same, for want of bytes under `maxBytes`
 * - `"expired"`: its TTL had passed, whatever call found that out
 * - `"deleted"`: `delete(key)`
 * - `"replaced"`: another value was set under its key
 * - `"cleared"`: `clear()`
 */
export type EvictionReason = "capacity" | "bytes" | "expired" | "deleted" | "replaced" | "cleared";

interface Eviction<K, V> {
  readonly key: K;
  readonly value: V;
  readonly reason: EvictionReason;
}

/**
 * Calls `onEvict` once for each value that left, in the order in which they left, after the cache is consistent again.
 *
 * A change of the cache queues what left and delivers at its end. A change made inside a callback queues behind what is
 * being delivered and is not delivered inside it: callbacks never nest, so they can't overflow the stack or see each
 * other half done. What a callback throws goes to `onError`, or else once to a process warning.
 */
export class EvictionListener<K, V> {
  /** How often a callback threw or rejected. */
  errors = 0;
  readonly #label: string;
  readonly #onEvict: (key: K, value: V, reason: EvictionReason) => void | Promise<void>;
  readonly #onError: ((error: CacheCallbackError) => void | Promise<void>) | undefined;
  #queue: Eviction<K, V>[] = [];
  #delivering = false;
  #warned = false;

  constructor(
    label: string,
    onEvict: (key: K, value: V, reason: EvictionReason) => void | Promise<void>,
    onError: ((error: CacheCallbackError) => void | Promise<void>) | undefined,
  ) {
    this.#label = label;
    this.#onEvict = onEvict;
    this.#onError = onError;
  }

  add(key: K, value: V, reason: EvictionReason): void {
    this.#queue.push({ key, value, reason });
  }

  deliver(): void {
    if (this.#delivering) return;
    this.#delivering = true;
    while (this.#queue.length > 0) {
      const batch = this.#queue;
      this.#queue = [];
      for (const eviction of batch) this.#call(eviction);
    }
    this.#delivering = false;
  }

  #call({ key, value, reason }: Eviction<K, V>): void {
    try {
      handleRejection(this.#onEvict(key, value, reason), (error) => this.#report("onEvict", reason, error));
    } catch (error) {
      this.#report("onEvict", reason, error);
    }
  }

  /** Never throws: it runs between two callbacks. */
  #report(callback: "onEvict" | "onError", reason: EvictionReason, cause: unknown): void {
    this.errors++;
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
