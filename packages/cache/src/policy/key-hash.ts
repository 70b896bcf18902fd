/** Odd numbers whose bits are spread evenly; the golden ratio and the one of the finish come from the literature. */
const GOLDEN = 0x9e3779b1;
const FINISH_1 = 0x85ebca6b;
const FINISH_2 = 0xc2b2ae35;

/** What a hash begins with, by type: equal digits of another type are another key. */
const STRING = 1;
const BIGINT = 2;
const NUMBER = 3;
const IDENTITY = 4;
const REGISTERED_SYMBOL = 5;
const CONSTANT = 6;
const DOUBLE = 7;

/**
 * Hashes of 32 bits for whatever can be the key of a Map: keys that a Map holds to be the same have the same hash
 * (SameValueZero: 0 is -0, NaN is NaN, objects are themselves).
 *
 * Start and factor are drawn at construction, so that nobody who does not know them can make up keys of one hash. This
 * is no cryptographic promise; what collides shares a counter or is taken for a key that was seen, no more.
 * Takes time in proportion to the length of a string or bigint, else constant time. Objects and unique symbols are
 * numbered in a WeakMap when they are first seen.
 */
export class KeyHash {
  readonly #seed: number;
  readonly #factor: number;
  readonly #numbers: WeakMap<WeakKey, number> = new WeakMap();
  #numbered = 0;
  readonly #double: Float64Array<ArrayBuffer> = new Float64Array(1);
  readonly #halves: Int32Array<ArrayBuffer> = new Int32Array(this.#double.buffer);

  /** @param random a number of 0 or above and below 1 */
  constructor(random: () => number) {
    this.#seed = Math.floor(random() * 0x1_0000_0000) | 0;
    this.#factor = (Math.floor(random() * 0x1_0000_0000) ^ GOLDEN) | 1;
  }

  /** A whole number of 0 or above and below 2 to the 32. */
  of(key: unknown): number {
    switch (typeof key) {
      case "string":
        return this.#text(key, STRING);
      case "number":
        return this.#number(key);
      case "bigint":
        return this.#text(key.toString(16), BIGINT);
      case "boolean":
        return this.#pair(CONSTANT, key ? 1 : 2);
      case "undefined":
        return this.#pair(CONSTANT, 3);
      case "symbol": {
        const registered = Symbol.keyFor(key);
        return registered === undefined ? this.#identity(key) : this.#text(registered, REGISTERED_SYMBOL);
      }
      default:
        return key === null ? this.#pair(CONSTANT, 4) : this.#identity(key as object);
    }
  }

  #text(text: string, type: number): number {
    const factor = this.#factor;
    const length = text.length;
    let hash = this.#seed ^ Math.imul(type, GOLDEN) ^ length;
    let i = 0;
    for (; i + 1 < length; i += 2) {
      hash = Math.imul(hash ^ text.charCodeAt(i) ^ (text.charCodeAt(i + 1) << 16), factor);
      hash ^= hash >>> 15;
    }
    if (i < length) hash = Math.imul(hash ^ text.charCodeAt(i), factor);
    return finish(hash);
  }

  #number(value: number): number {
    // Also takes -0, which equals 0.
    if (value === (value | 0)) return this.#pair(NUMBER, value | 0);
    if (Number.isNaN(value)) return this.#pair(CONSTANT, 5);
    this.#double[0] = value;
    return this.#pair(this.#pair(DOUBLE, this.#halves[0]!), this.#halves[1]!);
  }

  #identity(key: WeakKey): number {
    let number = this.#numbers.get(key);
    if (number === undefined) {
      number = ++this.#numbered;
      this.#numbers.set(key, number);
    }
    return this.#pair(IDENTITY, number | 0);
  }

  #pair(first: number, second: number): number {
    const factor = this.#factor;
    let hash = Math.imul(this.#seed ^ first, factor);
    hash = Math.imul(hash ^ (hash >>> 15) ^ second, factor);
    return finish(hash);
  }
}

/** Spreads what differs in any bit over all bits (the last step of MurmurHash3, Appleby). */
function finish(hash: number): number {
  let mixed = hash ^ (hash >>> 16);
  mixed = Math.imul(mixed, FINISH_1);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, FINISH_2);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
