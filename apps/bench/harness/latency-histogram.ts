/** 128 to each power of two: a figure is off by less than 1 %. */
const SUB_BITS = 7;
const SUB = 1 << SUB_BITS;
/** 2^31 ns: what takes longer counts as that, but for `max`. */
const LONGEST_NS = 2 ** 31 - 1;

/** Counts durations by their logarithm: recording one neither allocates nor takes longer the more there are. */
export class LatencyHistogram {
  readonly #counts = new Float64Array(SUB * (32 - SUB_BITS));
  #count = 0;
  #max = 0;

  get count(): number {
    return this.#count;
  }

  /** Exact. */
  get maxNs(): number {
    return this.#max;
  }

  record(ns: number): void {
    if (ns > this.#max) this.#max = ns;
    this.#count++;
    this.#counts[bucketOf(ns < LONGEST_NS ? ns | 0 : LONGEST_NS)]!++;
  }

  /** The least duration, to 1 %, that `share` (0..1) of all did not exceed; 0 when there are none. */
  percentile(share: number): number {
    const rank = Math.max(1, Math.ceil(share * this.#count));
    let seen = 0;
    for (let bucket = 0; bucket < this.#counts.length; bucket++) {
      seen += this.#counts[bucket]!;
      if (seen >= rank) return bucket === bucketOf(LONGEST_NS) ? this.#max : Math.min(endOf(bucket), this.#max);
    }
    return this.#max;
  }
}

function bucketOf(ns: number): number {
  if (ns < SUB) return ns;
  const octave = 31 - Math.clz32(ns) - SUB_BITS;
  return (octave << SUB_BITS) + (ns >>> octave);
}

/** The last duration of a bucket. */
function endOf(bucket: number): number {
  if (bucket < 2 * SUB) return bucket;
  const octave = (bucket >>> SUB_BITS) - 1;
  return ((bucket & (SUB - 1)) + SUB + 1) * 2 ** octave - 1;
}
