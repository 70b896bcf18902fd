/** Numbers of places in the ring before it grows for the first time. */
const FIRST_PLACES = 64;

/** What stands in the place of a hash that was taken: `add` stores no such hash. */
const TAKEN = 0;

/**
 * The hashes of the last keys that were evicted: a queue that answers whether a hash is among its newest ones.
 *
 * A ring holds the newest hashes, and for each the number of the one before it in its bucket, so that buckets are lists
 * from new to old. What the ring has overwritten is known by its number: a list ends where numbers are too old, and
 * nothing is ever taken out. 12 bytes a place; places are added as hashes come, up to the next power of 2 above the
 * limit. `add` takes constant time, growth spread over the adds; `take` constant time on average, for hashes that are
 * spread evenly.
 */
export class KeyGhosts {
  #hashes: Uint32Array<ArrayBuffer>;
  #previous: Uint32Array<ArrayBuffer>;
  /** The number of the newest hash in each bucket. */
  #newest: Uint32Array<ArrayBuffer>;
  /** Number of the next hash, modulo 2 to the 32; numbers of empty buckets are as old as can be. */
  #next = 0;
  /** How many hashes are remembered, those that were taken included. */
  #added = 0;

  constructor() {
    this.#hashes = new Uint32Array(FIRST_PLACES);
    this.#previous = new Uint32Array(FIRST_PLACES);
    this.#newest = new Uint32Array(FIRST_PLACES);
  }

  /** Adds a hash, and forgets all but the newest `limit`. */
  add(hash: number, limit: number): void {
    if (this.#added === this.#hashes.length && limit > this.#added) this.#grow();
    this.#put(hash === TAKEN ? 1 : hash);
    this.#added = Math.min(this.#added, limit);
  }

  /** Whether the hash is among the last `limit` that were added; it is so once only. */
  take(hash: number, limit: number): boolean {
    const wanted = hash === TAKEN ? 1 : hash;
    const mask = this.#hashes.length - 1;
    const oldest = Math.min(limit, this.#added);
    let number = this.#newest[wanted & mask]!;
    // Numbers get older from step to step; one that does not is left over from before the numbers began anew.
    for (let age = 0; ;) {
      const next = (this.#next - number) >>> 0;
      if (next <= age || next > oldest) return false;
      age = next;
      if (this.#hashes[number & mask] === wanted) {
        this.#hashes[number & mask] = TAKEN;
        return true;
      }
      number = this.#previous[number & mask]!;
    }
  }

  reset(): void {
    this.#hashes = new Uint32Array(FIRST_PLACES);
    this.#previous = new Uint32Array(FIRST_PLACES);
    this.#newest = new Uint32Array(FIRST_PLACES);
    this.#next = 0;
    this.#added = 0;
  }

  #put(hash: number): void {
    const mask = this.#hashes.length - 1;
    const place = this.#next & mask;
    const bucket = hash & mask;
    this.#hashes[place] = hash;
    this.#previous[place] = this.#newest[bucket]!;
    this.#newest[bucket] = this.#next;
    this.#next = (this.#next + 1) >>> 0;
    if (this.#added <= mask) this.#added++;
  }

  /** The ring is full: twice the places, and all its hashes put in again, oldest first. */
  #grow(): void {
    const old = this.#hashes;
    const mask = old.length - 1;
    const first = (this.#next - old.length) >>> 0;
    this.#hashes = new Uint32Array(2 * old.length);
    this.#previous = new Uint32Array(2 * old.length);
    this.#newest = new Uint32Array(2 * old.length);
    this.#next = 0;
    this.#added = 0;
    for (let i = 0; i < old.length; i++) this.#put(old[(first + i) & mask]!);
  }
}
