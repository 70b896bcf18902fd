/**
 * `count` draws from 0..items-1, of which rank r comes with a probability proportional to 1 / (r + 1)^exponent; the same
 * for the same seed. Ranks are scattered over the range, so that the popular ones are not the small numbers.
 */
export function zipfSequence(count: number, items: number, exponent: number, seed: number): Int32Array {
  const random = mulberry32(seed);
  const cumulative = new Float64Array(items);
  let sum = 0;
  for (let rank = 0; rank < items; rank++) cumulative[rank] = sum += 1 / (rank + 1) ** exponent;
  const itemOfRank = shuffled(items, random);
  const sequence = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    sequence[i] = itemOfRank[firstAtLeast(cumulative, random() * sum)]!;
  }
  return sequence;
}

/** Fisher and Yates's shuffle of 0..count-1. */
function shuffled(count: number, random: () => number): Int32Array {
  const items = Int32Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    const other = items[j]!;
    items[j] = items[i]!;
    items[i] = other;
  }
  return items;
}

function firstAtLeast(sorted: Float64Array, value: number): number {
  let low = 0;
  let high = sorted.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** T. Ettinger's 32-bit generator: short, fast, and good enough to draw a workload. */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
