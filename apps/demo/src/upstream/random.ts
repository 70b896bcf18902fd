/**
 * A seeded source of numbers in [0, 1): sfc32 by C. Doty-Humphrey (PractRand). The same seed gives the same numbers on
 * every machine. Not for secrets.
 *
 * @param seed any safe integer
 */
export function seededRandom(seed: number): () => number {
  // The two halves of the seed, so that seeds above 2^32 differ too.
  let a = seed | 0;
  let b = Math.floor(seed / 2 ** 32) | 0;
  let c = 0x9e3779b9;
  let counter = 1;
  const next = (): number => {
    const sum = (((a + b) | 0) + counter) | 0;
    counter = (counter + 1) | 0;
    a = b ^ (b >>> 9);
    b = (c + (c << 3)) | 0;
    c = ((c << 21) | (c >>> 11)) + sum;
    return (sum >>> 0) / 2 ** 32;
  };
  // Near seeds start alike; a dozen rounds part them.
  for (let round = 0; round < 12; round++) next();
  return next;
}

/** FNV-1a over UTF-16 code units, 32 bits (Fowler, Noll, Vo), with a final mix after MurmurHash3 (A. Appleby). */
export function hash32(text: string, seed = 0): number {
  let hash = (0x811c9dc5 ^ seed) >>> 0;
  for (let i = 0; i < text.length; i++) {
    hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  }
  return mix32(hash);
}

/** Spreads the bits of a 32-bit number; equal in, equal out. */
export function mix32(value: number): number {
  let hash = value;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
