import { describeValue } from "@vg/internal";
import { checkLoad } from "../arguments.ts";
import { configError } from "../options.ts";
import type { LoadContext, LoadOptions } from "./load-options.ts";

export interface MemoizeOptions<K, V, A extends unknown[]> extends Omit<LoadOptions<K, V>, "signal"> {
  /** The key of a call. Default: its only argument. */
  key?: ((...args: A) => K) | undefined;
}

/** What memoizing needs of a cache. */
interface LoadingCache<K, V> {
  getOrLoad(key: K, loader: (context: LoadContext<K, V>) => V | Promise<V>, options: LoadOptions<K, V>): Promise<V>;
}

/** @see LRUCache.memoize */
export function memoize<K, V, A extends unknown[]>(
  cache: LoadingCache<K, V>,
  label: string,
  fn: (...args: A) => V | Promise<V>,
  memoizeOptions: MemoizeOptions<K, V, A>,
): (...args: A) => Promise<V> {
  // Now, and not at the first call.
  if (typeof memoizeOptions !== "object" || memoizeOptions === null) {
    throw configError(`${label}: memoize(): options must be an object, got ${describeValue(memoizeOptions)}.`);
  }
  const { key: keyOf, ...options } = memoizeOptions;
  checkLoad(label, "memoize", fn, options);
  if (keyOf !== undefined && typeof keyOf !== "function") {
    throw configError(`${label}: memoize(): key must be a function, got ${describeValue(keyOf)}.`);
  }
  return async (...args) => {
    // Two calls that differ in what the key leaves out would get one answer.
    if (keyOf === undefined && args.length !== 1) {
      throw configError(
        `${label}: a memoized function was called with ${args.length} arguments. Without a key function, its only ` +
          `argument is the key: give memoize() a key that says what the result depends on.`,
      );
    }
    const key = keyOf === undefined ? (args[0] as K) : keyOf(...args);
    return await cache.getOrLoad(key, () => fn(...args), options);
  };
}
