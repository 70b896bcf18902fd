import { describeValue } from "@vg/internal";
import { CacheLoadResultError } from "../errors.ts";
import type { Landed } from "./flight.ts";

/**
 * What a loader of several keys gave, key by key.
 *
 * @throws {CacheLoadResultError} if it is no Map, and no array with a value for each key
 */
export function resultsOf<K, V>(label: string, keys: readonly K[], given: unknown): Landed<V>[] {
  if (isMapLike<K, V>(given)) {
    return keys.map((key) => ({ value: given.get(key) as V, isAbsent: !given.has(key) }));
  }
  if (Array.isArray(given) && given.length === keys.length) {
    return (given as V[]).map((value) => ({ value, isAbsent: false }));
  }
  throw new CacheLoadResultError(
    `${label}: the loader of getManyOrLoad() must give a Map by key, or an array with one value for each of the ` +
      `${keys.length} keys in their order, got ${describeValue(given)}. Nothing was stored.`,
  );
}

/** Of any realm: by what is used of it. */
function isMapLike<K, V>(given: unknown): given is ReadonlyMap<K, V> {
  if (typeof given !== "object" || given === null) return false;
  const { get, has } = given as Partial<ReadonlyMap<K, V>>;
  return typeof get === "function" && typeof has === "function";
}
