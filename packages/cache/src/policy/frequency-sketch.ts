/** A block is a line of the processor's cache: 16 words of 8 counters, in 4 rows of 4 words. */
const BLOCK_BITS = 4;
const ROWS = 4;

/** A block for so many entries: 16 counters, 8 bytes, an entry. */
const ENTRIES_A_BLOCK = 8;

const COUNTER_MAX = 15;

/** The bits that stay of each counter when all of a word's counters are halved at once. */
const HALVED = 0x7777_7777;

/** No sketch is smaller (16 KB): in a small one the keys of a scan would soon share all counters. */
const LEAST_BLOCKS = 256;

/** So many uses for each entry held, and all counters are halved: a bit less than a counter can count. */
const USES_AN_ENTRY = 12;

/** Odd, with evenly spread bits: the counters within a block must not follow from the block. */
const SPREAD = 0x9e3779b1;

/**
 * How often keys were used lately, in little memory: a count-min sketch (Cormode and Muthukrishnan, 2005) of 4-bit
 * counters with conservative update (Estan and Varghese, 2002), whose counters are halved from time to time as in
 * "TinyLFU: A Highly Efficient Cache Admission Policy" (Einziger, Friedman, Manes, 2017).
 *
 * A key has 4 counters, all in one block, and the least of them is the estimate: never below the true count, up to 15
 * and as far as it was not halved; above it when other keys share all four. Constant time; the halving, which looks at
 * every word, is spread over 12 uses an entry.
 */
export class FrequencySketch {
  #words: Int32Array<ArrayBuffer> = new Int32Array(LEAST_BLOCKS << BLOCK_BITS);
  #blockMask = LEAST_BLOCKS - 1;
  #uses = 0;
  #period = USES_AN_ENTRY;
  #isGrown = false;

  /** Makes room for so many entries. What was counted is kept. */
  grow(entries: number): void {
    while ((this.#blockMask + 1) * ENTRIES_A_BLOCK < entries) {
      // A block's number is the lower bits of the hash: one bit more, and each key is in one of two copies.
      const words = new Int32Array(2 * this.#words.length);
      words.set(this.#words);
      words.set(this.#words, this.#words.length);
      this.#words = words;
      this.#blockMask = 2 * this.#blockMask + 1;
      this.#isGrown = true;
    }
  }

  /** How many entries are held now: the counters are halved after 12 uses for each. */
  hold(entries: number): void {
    // A table that was made for more entries takes as long to halve as ever: at most once in so many uses.
    this.#period = Math.max(USES_AN_ENTRY * entries, this.#isGrown ? this.#words.length : 0);
  }

  /** Counts one use of the key with this hash. */
  increment(hash: number): void {
    const words = this.#words;
    const block = (hash & this.#blockMask) << BLOCK_BITS;
    const spread = Math.imul(hash, SPREAD);
    // Five bits choose a counter out of a row: two its word, three its place in it. The upper bits are the better ones.
    const word0 = block + (spread >>> 30);
    const word1 = block + 4 + ((spread >>> 25) & 3);
    const word2 = block + 8 + ((spread >>> 20) & 3);
    const word3 = block + 12 + ((spread >>> 15) & 3);
    const shift0 = (spread >>> 25) & 28;
    const shift1 = (spread >>> 20) & 28;
    const shift2 = (spread >>> 15) & 28;
    const shift3 = (spread >>> 10) & 28;
    const count0 = (words[word0]! >>> shift0) & COUNTER_MAX;
    const count1 = (words[word1]! >>> shift1) & COUNTER_MAX;
    const count2 = (words[word2]! >>> shift2) & COUNTER_MAX;
    const count3 = (words[word3]! >>> shift3) & COUNTER_MAX;
    const least = Math.min(count0, count1, count2, count3);
    if (least < COUNTER_MAX) {
      if (count0 === least) words[word0] = (words[word0]! + (1 << shift0)) | 0;
      if (count1 === least) words[word1] = (words[word1]! + (1 << shift1)) | 0;
      if (count2 === least) words[word2] = (words[word2]! + (1 << shift2)) | 0;
      if (count3 === least) words[word3] = (words[word3]! + (1 << shift3)) | 0;
    }
    if (++this.#uses >= this.#period) this.#age();
  }

  /** How often the key was used lately, 0 to 15. */
  estimate(hash: number): number {
    const words = this.#words;
    const block = (hash & this.#blockMask) << BLOCK_BITS;
    const spread = Math.imul(hash, SPREAD);
    let least = COUNTER_MAX;
    for (let row = 0; row < ROWS; row++) {
      const pick = spread >>> (27 - 5 * row);
      const word = words[block + 4 * row + ((pick >>> 3) & 3)]!;
      least = Math.min(least, (word >>> ((pick & 7) << 2)) & COUNTER_MAX);
    }
    return least;
  }

  reset(): void {
    this.#words = new Int32Array(LEAST_BLOCKS << BLOCK_BITS);
    this.#blockMask = LEAST_BLOCKS - 1;
    this.#uses = 0;
    this.#period = USES_AN_ENTRY;
    this.#isGrown = false;
  }

  #age(): void {
    this.#uses = 0;
    const words = this.#words;
    for (let i = 0; i < words.length; i++) words[i] = (words[i]! >>> 1) & HALVED;
  }
}
