/** The caches that are compared, made with equal features; each library is loaded only where it is asked for. */

/** A value is an object, as in a real cache. Its id tells whose it is, `bytes` what it counts for. */
export interface Value {
  readonly id: number;
  readonly bytes: number;
}

/** What all of them can do. Thin enough that V8 inlines it. */
export interface CacheUnderTest<K> {
  get(key: K): Value | undefined;
  set(key: K, value: Value): unknown;
}

export type DisposableCache<K> = CacheUnderTest<K> & { [Symbol.dispose]?(): void };

export interface Features {
  readonly capacity: number;
  /** Entries live for an hour, by a clock that is read at each look-up, or about once a millisecond. */
  readonly deadline?: "exact" | "coarse";
  /** What the values may take together, by their `bytes`. */
  readonly maxBytes?: number;
}

const HOUR_MS = 3_600_000;

const sizeOf = (value: Value): number => value.bytes;

/** @throws if the library does not have the features */
export async function cacheMaker<K extends object | number | string>(
  name: string,
  features: Features,
): Promise<() => DisposableCache<K>> {
  const { capacity, deadline, maxBytes } = features;
  switch (name) {
    case "@vg/cache": {
      const { LRUCache } = await import("@vg/cache");
      const options = {
        capacity,
        defaultTtlMs: deadline === undefined ? Infinity : HOUR_MS,
        ...(deadline === "coarse" && { clockResolutionMs: 1 }),
        ...(maxBytes !== undefined && { maxBytes, sizeOf }),
      };
      return () => new LRUCache<K, Value>(options);
    }
    case "lru-cache": {
      const { LRUCache } = await import("lru-cache");
      const options = {
        max: capacity,
        ...(deadline !== undefined && { ttl: HOUR_MS, ttlResolution: deadline === "exact" ? 0 : 1 }),
        ...(maxBytes !== undefined && { maxSize: maxBytes, sizeCalculation: sizeOf }),
      };
      return () => new LRUCache<K, Value>(options);
    }
  }
  if (deadline !== undefined || maxBytes !== undefined) throw new Error(`${name} has no deadlines and no sizes`);
  switch (name) {
    case "lru.min": {
      const { createLRU } = await import("lru.min");
      return () => createLRU<K, Value>({ max: capacity });
    }
    case "mnemonist": {
      const { LRUMap } = await import("mnemonist");
      return () => new LRUMap<K, Value>(capacity);
    }
    case "quick-lru": {
      const { default: QuickLRU } = await import("quick-lru");
      return () => new QuickLRU<K, Value>({ maxSize: capacity });
    }
    case "Map":
      return () => new Map<K, Value>();
    default:
      throw new Error(`no cache ${name}`);
  }
}
