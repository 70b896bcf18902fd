import { describeValue } from "@vg/internal";
import { LRUCache } from "./lru-cache.ts";
import { configError } from "./options.ts";
import type { LRUCacheOptions } from "./options.ts";

/** One entry of `setMany`. */
export interface KeyvStoreEntry {
  readonly key: string;
  readonly value: unknown;
  /** As in `set`. */
  readonly ttl?: number | undefined;
}

/*
 * The contract is the one of Keyv 5: TTLs are relative, and Keyv puts the namespace before each key. Keyv 6 wraps such a
 * store, and passes it TTLs and whole keys in the same way.
 *
 * There is no `deleteMany`: Keyv 5 wants one boolean of it, Keyv 6 one for each key, and both are right by `delete` alone.
 */

/**
 * A storage adapter for Keyv 5 and 6 that keeps everything in an `LRUCache`: `new Keyv({ store: new KeyvStore({ … }) })`.
 *
 * Give each Keyv a store of its own, since Keyv 5 writes its namespace into it. Stores can share one `LRUCache`:
 * `clear` and `iterator` then stay within the namespace, and within those whose names begin with it and a colon.
 */
export class KeyvStore {
  /** Where the entries are: keys with their namespace, values as Keyv encodes them. For statistics, limits and dumps. */
  readonly cache: LRUCache<string, unknown>;
  /** Keyv 5 writes its own here. Undefined or empty: none, so that `clear` takes all. */
  namespace: string | undefined = undefined;
  /** Keyv 5 iterates only over stores whose dialect it knows. Nothing else depends on it. */
  readonly opts: Record<string, unknown> = { dialect: "redis", url: "" };
  readonly #ownsCache: boolean;

  /**
   * @param cacheOrOptions an `LRUCache` that others use, too, or the options of one for this store. Other than there,
   *   `defaultTtlMs` is `Infinity` here, since what Keyv sets without a TTL stays; and `name` is `"keyv"`
   * @throws {CacheConfigError} if an option is out of range, of the wrong type, or unknown
   */
  constructor(cacheOrOptions: LRUCache<string, unknown> | LRUCacheOptions<string, unknown> = {}) {
    this.#ownsCache = !(cacheOrOptions instanceof LRUCache);
    this.cache = cacheOrOptions instanceof LRUCache ? cacheOrOptions : makeCache(cacheOrOptions);
  }

  /** The value, which becomes the most recently used one; undefined if there is none. */
  async get<Value>(key: string): Promise<Value | undefined> {
    return this.cache.get(key) as Value | undefined;
  }

  /** As `get`, for each key, in their order. */
  async getMany<Value>(keys: readonly string[]): Promise<(Value | undefined)[]> {
    return keys.map((key) => this.cache.get(key) as Value | undefined);
  }

  /** Whether a live entry has this key. Changes nothing. */
  async has(key: string): Promise<boolean> {
    return this.cache.has(key);
  }

  /** As `has`, for each key, in their order. */
  async hasMany(keys: readonly string[]): Promise<boolean[]> {
    return keys.map((key) => this.cache.has(key));
  }

  /**
   * Stores the value, which becomes the most recently used one.
   *
   * @param ttl milliseconds to live; left out or 0: the cache's `defaultTtlMs`; below 0: it is over already, so that the
   *   key has no entry from now on
   * @returns false if it was not stored, since it alone is larger than `maxBytes`; the old value is gone then, too
   * @throws {CacheTtlError} {CacheSizeError} before anything is changed
   */
  async set(key: string, value: unknown, ttl?: number): Promise<boolean> {
    return this.#set(key, value, ttl);
  }

  /** As `set`, for each entry, in their order. Where one throws, those before it are stored. */
  setMany(entries: readonly KeyvStoreEntry[]): Promise<boolean[]>;
  // The type that Keyv 5 declares, which hands on whatever comes.
  setMany(entries: readonly KeyvStoreEntry[]): Promise<void>;
  async setMany(entries: readonly KeyvStoreEntry[]): Promise<boolean[] | void> {
    return entries.map(({ key, value, ttl }) => this.#set(key, value, ttl));
  }

  /** Removes the entry; false if there was no live one. */
  async delete(key: string): Promise<boolean> {
    return this.cache.delete(key);
  }

  /** Removes the entries of `namespace` (for `onEvict`: "deleted"), or all if it has none ("cleared"). */
  async clear(): Promise<void> {
    const prefix = prefixOf(this.namespace);
    if (prefix === "") {
      this.cache.clear();
      return;
    }
    for (const key of this.cache.keysReversed()) {
      if (key.startsWith(prefix)) this.cache.delete(key);
    }
  }

  /**
   * The live entries of the namespace, most recently used first, with whole keys. It is no use of them. The cache may be
   * changed meanwhile: what has gone is skipped, what came is not visited.
   */
  async *iterator<Value>(
    namespace: string | undefined = this.namespace,
  ): AsyncGenerator<[key: string, value: Awaited<Value>], void, unknown> {
    const prefix = prefixOf(namespace);
    for (const [key, value] of this.cache.entries()) {
      if (key.startsWith(prefix)) yield [key, value as Awaited<Value>];
    }
  }

  /** Closes the cache, if it was made for this store: no timer is left. Entries stay, and everything goes on working. */
  async disconnect(): Promise<void> {
    if (this.#ownsCache) this.cache.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.disconnect();
  }

  /** Keyv listens for errors here. There are none but those that the calls themselves reject with. */
  on(_event: string, _listener: (...args: never[]) => void): this {
    return this;
  }

  /** @see on */
  once(_event: string, _listener: (...args: never[]) => void): this {
    return this;
  }

  /** @see on */
  off(_event: string, _listener: (...args: never[]) => void): this {
    return this;
  }

  #set(key: string, value: unknown, ttl: number | undefined): boolean {
    if (ttl !== undefined && ttl < 0) {
      this.cache.delete(key);
      return true;
    }
    return this.cache.set(key, value, ttl);
  }
}

function makeCache(options: LRUCacheOptions<string, unknown>): LRUCache<string, unknown> {
  // A Map, or a cache of another copy of this package, would otherwise pass as options without any.
  if (typeof options !== "object" || options === null || "set" in options) {
    throw configError(
      `KeyvStore: needs the options of an LRUCache, or an LRUCache of this copy of @vg/cache, got ${describeValue(options)}.`,
    );
  }
  return new LRUCache({ ...options, name: options.name ?? "keyv", defaultTtlMs: options.defaultTtlMs ?? Infinity });
}

/** What the keys of a namespace begin with, in Keyv 5. Keyv 6 has one more colon, and looks itself. */
function prefixOf(namespace: string | undefined): string {
  return namespace === undefined || namespace === "" ? "" : `${namespace}:`;
}
