/** The caches whose expiry is measured, with what each one offers to get rid of what has expired. */

export interface Value {
  readonly id: number;
}

export interface ExpiringCache {
  get(key: string): Value | undefined;
  set(key: string, value: Value, ttlMs: number): void;
  /** What a program asks now and then, by name: how full is it? */
  readonly looks: Readonly<Record<string, () => unknown>>;
  /** What a program has to do about once a second, where the cache does nothing by itself. */
  purge?(): void;
  /** How many expired entries it has removed, where it says so. */
  expired?(): number;
  close?(): void;
}

/** A TTL for entries that are to outlive the measurement. */
const LONG_MS = 600_000;

export async function makeExpiringCache(name: string, capacity: number): Promise<ExpiringCache> {
  switch (name) {
    case "@vg/cache": {
      const { LRUCache } = await import("@vg/cache");
      const cache = new LRUCache<string, Value>({ capacity, defaultTtlMs: LONG_MS });
      return {
        get: (key) => cache.get(key),
        set: (key, value, ttlMs) => void cache.set(key, value, ttlMs),
        looks: { getStats: () => cache.getStats(), size: () => cache.size },
        expired: () => cache.getStats().expirations,
        close: () => cache.close(),
      };
    }
    case "lru-cache ttlAutopurge":
    case "lru-cache purgeStale": {
      const { LRUCache } = await import("lru-cache");
      const ttlAutopurge = name.endsWith("ttlAutopurge");
      const cache = new LRUCache<string, Value>({ max: capacity, ttl: LONG_MS, ttlAutopurge });
      return {
        get: (key) => cache.get(key),
        set: (key, value, ttl) => void cache.set(key, value, { ttl }),
        looks: { size: () => cache.size },
        ...(!ttlAutopurge && { purge: () => void cache.purgeStale() }),
        close: () => cache.clear(),
      };
    }
    case "@isaacs/ttlcache": {
      const { TTLCache } = await import("@isaacs/ttlcache");
      // Without checkAgeOnGet it serves what has expired until its timer comes.
      const cache = new TTLCache<string, Value>({ max: capacity, ttl: LONG_MS, checkAgeOnGet: true });
      return {
        get: (key) => cache.get(key),
        set: (key, value, ttl) => void cache.set(key, value, { ttl }),
        looks: { size: () => cache.size },
        close: () => cache.clear(),
      };
    }
    // The machine, the collector and the measurement alone.
    case "nothing":
      return { get: () => undefined, set: () => {}, looks: { size: () => 0 } };
    default:
      throw new Error(`no cache ${name}`);
  }
}
