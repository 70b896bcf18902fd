/**
 * A log-linear histogram of non-negative numbers, after HdrHistogram (G. Tene): every power of two is cut into 32
 * buckets of equal width, so a percentile is off by at most 1/32 (3.2 %) of its value. Recording is a few
 * instructions and allocates nothing; the memory is fixed (about 9 KiB).
 *
 * Values from 2^-10 (a microsecond, where the unit is a millisecond) to 2^26 (18 hours) keep that precision; smaller
 * ones count in the lowest bucket and larger ones in the highest. `count`, `sum`, `min` and `max` are always exact.
 */
export function createHistogram() {
  return new Histogram();
}

const SUB_BUCKET_BITS = 5;
const SUB_BUCKETS = 1 << SUB_BUCKET_BITS;
const MIN_EXPONENT = -10;
const MAX_EXPONENT = 26;
const BUCKETS = (MAX_EXPONENT - MIN_EXPONENT) * SUB_BUCKETS;

// Reading a double's exponent and leading fraction bits is exact and needs no logarithm.
const float = new Float64Array(1);
const words = new Uint32Array(float.buffer);
const HIGH_WORD = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1 ? 1 : 0;

function bucketOf(value: number): number {
  float[0] = value;
  const high = words[HIGH_WORD] as number;
  const exponent = ((high >>> 20) & 0x7ff) - 1023;
  if (exponent < MIN_EXPONENT) return 0;
  if (exponent >= MAX_EXPONENT) return BUCKETS - 1;
  const fraction = (high >>> (20 - SUB_BUCKET_BITS)) & (SUB_BUCKETS - 1);
  return (exponent - MIN_EXPONENT) * SUB_BUCKETS + fraction;
}

function middleOf(bucket: number): number {
  const exponent = Math.floor(bucket / SUB_BUCKETS) + MIN_EXPONENT;
  const fraction = (bucket % SUB_BUCKETS) + 0.5;
  return 2 ** exponent * (1 + fraction / SUB_BUCKETS);
}

interface HistogramSnapshot {
  readonly count: number;
  readonly sum_ms: number;
  readonly buckets: readonly { readonly le_ms: number; readonly count: number }[];
}

const BOUNDS_MS = [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000, 60_000];

class Histogram {
  count = 0;
  sum = 0;
  min = Infinity;
  max = -Infinity;
  readonly #buckets = new Float64Array(BUCKETS);

  /** Adds one value. Negative numbers (a clock that jumped) count as 0; NaN is ignored. */
  record(value: number): void {
    if (Number.isNaN(value)) return;
    if (value < 0) value = 0;
    this.count++;
    this.sum += value;
    if (value < this.min) this.min = value;
    if (value > this.max) this.max = value;
    const bucket = bucketOf(value);
    this.#buckets[bucket] = (this.#buckets[bucket] as number) + 1;
  }

  /** The mean of all values; 0 when there are none. */
  get mean(): number {
    return this.count === 0 ? 0 : this.sum / this.count;
  }

  /** The value below which `p` (0..1) of the recorded values lie, within 3.2 %; 0 when there are none. */
  percentile(p: number): number {
    if (this.count === 0) return 0;
    const rank = Math.max(1, Math.ceil(p * this.count));
    // The two ends are known exactly.
    if (rank >= this.count) return this.max;
    let seen = 0;
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      seen += this.#buckets[bucket] as number;
      if (seen >= rank) return Math.min(this.max, Math.max(this.min, middleOf(bucket)));
    }
    return this.max;
  }

  /** How many values are at most `bound`, to the precision of the buckets; for cumulative `le` series. */
  countAtMost(bound: number): number {
    if (bound >= this.max) return this.count;
    const last = bucketOf(bound);
    let seen = 0;
    for (let bucket = 0; bucket < last; bucket++) seen += this.#buckets[bucket] as number;
    return seen;
  }

  /** What a metrics endpoint shows: cumulative counts by upper bound, from 0.1 ms to a minute; frozen. */
  snapshot(): HistogramSnapshot {
    const buckets = BOUNDS_MS.map((le_ms) => Object.freeze({ le_ms, count: this.countAtMost(le_ms) }));
    return Object.freeze({ count: this.count, sum_ms: this.sum, buckets: Object.freeze(buckets) });
  }

  reset(): void {
    this.count = 0;
    this.sum = 0;
    this.min = Infinity;
    this.max = -Infinity;
    this.#buckets.fill(0);
  }
}
