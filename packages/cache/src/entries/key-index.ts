/** Below it V8 sweeps a Map that churns instead of doubling it past 2^24. */
const MAP_LIMIT = 2 ** 22;
/** So many keys V8 moves in well under a millisecond. */
const SHARD_KEYS = 2 ** 14;
const MAX_SHARDS = 2 ** 10;

/** Up to so many keys stay in one Map: a small cache should not pay for a hash. */
const SMALL = 2 ** 15;

/**
 * Where the entry of a key is. One Map is the fastest, as long as it is small. A large one stops the program: V8 moves
 * all its keys at once when it grows, shrinks, or has seen as many deletions as it has room (30 ms for a million keys,
 * measured), and it cannot hold more than 2^24 keys, the deleted ones that it has not yet swept included.
 */
export type KeyIndex<K> = Map<K, number> | ShardedMap<K>;

/** Whether an index for so many keys is of another kind than this one. */
export function needsRebuilding(index: KeyIndex<unknown>, expected: number): boolean {
  return index instanceof Map && expected > SMALL;
}

/** @param expected about how many keys it will hold at most */
export function makeKeyIndex<K>(expected: number): KeyIndex<K> {
  return expected <= SMALL ? new Map<K, number>() : new ShardedMap<K>(shardsFor(expected));
}

/**
 * Keys spread over Maps of about SHARD_KEYS each, by a few bits of a cheap hash. How well these spread decides only how
 * fast it is: keys that have no hash (objects, symbols) share one Map, and Maps that are full overflow into further
 * ones, which are asked in turn.
 */
export class ShardedMap<K> {
  readonly #shards: Map<K, number>[];
  readonly #mapLimit: number;
  readonly #overflow: Map<K, number>[] = [];

  /**
   * @param shards a power of two
   * @param mapLimit how many keys one Map may hold
   */
  constructor(shards: number, mapLimit: number = MAP_LIMIT) {
    this.#shards = Array.from({ length: shards }, () => new Map<K, number>());
    this.#mapLimit = mapLimit;
  }

  get(key: K): number | undefined {
    const slot = this.#shardOf(key).get(key);
    return slot !== undefined || this.#overflow.length === 0 ? slot : this.#mapWith(key)?.get(key);
  }

  set(key: K, slot: number): void {
    const shard = this.#shardOf(key);
    let map = this.#mapWith(key);
    if (map === undefined) {
      const isFull = shard.size >= this.#mapLimit && !shard.has(key);
      map = isFull ? this.#overflow.find(({ size }) => size < this.#mapLimit) : shard;
      if (map === undefined) this.#overflow.push((map = new Map()));
    }
    map.set(key, slot);
  }

  delete(key: K): boolean {
    return this.#shardOf(key).delete(key) || this.#mapWith(key)?.delete(key) === true;
  }

  #shardOf(key: K): Map<K, number> {
    return this.#shards[spread(key) & (this.#shards.length - 1)]!;
  }

  #mapWith(key: K): Map<K, number> | undefined {
    return this.#overflow.length === 0 ? undefined : this.#overflow.find((map) => map.has(key));
  }
}

/** A power of two. */
function shardsFor(expected: number): number {
  let shards = 2;
  while (shards < MAX_SHARDS && expected > SHARD_KEYS * shards) shards *= 2;
  return shards;
}

/** How many characters of a string are looked at. */
const LOOKS = 8;

/**
 * A hash of which the low bits are good enough to spread keys over Maps: equal for keys that a Map takes for the same
 * (0 and -0, NaN and NaN), and of a few characters of a string, half of them the last ones, where keys differ.
 */
function spread(key: unknown): number {
  if (typeof key === "string") {
    const { length } = key;
    let hash = length;
    const last = Math.max(0, length - LOOKS / 2);
    for (let i = last; i < length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
    const step = Math.max(1, (last / (LOOKS / 2)) | 0);
    for (let i = 0; i < last; i += step) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193);
    return hash ^ (hash >>> 15);
  }
  if (typeof key === "number") {
    // An integer is its own bits; of another number the fraction is most of what tells it from its neighbours.
    const whole = key | 0;
    const hash = Math.imul(whole === key ? whole : (key * 0x10_0000) ^ (key / 0x1000), 0x9e3779b1);
    return hash ^ (hash >>> 15);
  }
  return typeof key === "bigint" ? spread(Number(BigInt.asIntN(32, key))) : 0;
}
