/** The middle of several measurements and how far they spread. */
export interface Summary {
  median: number;
  min: number;
  max: number;
}

export function summarise(values: readonly number[]): Summary {
  return { median: median(values), min: Math.min(...values), max: Math.max(...values) };
}

/** The middle value; of an even number of values, the mean of the two in the middle. NaN when there are none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length % 2 === 1) return sorted[middle]!;
  return ((sorted[middle - 1] ?? NaN) + (sorted[middle] ?? NaN)) / 2;
}

/** The value below which `p` (0..1) of the values lie (nearest rank). NaN when there are none. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(p * sorted.length) - 1)] ?? NaN;
}

/**
 * How many times as fast as `rival` `ours` was, round by round: above 1, ours was faster. Taken per round, because what
 * disturbs the machine for seconds disturbs both sides of one round, and so drops out of their ratio.
 */
export function speedRatios(ours: readonly number[], rival: readonly number[]): Summary {
  return summarise(ours.map((own, round) => rival[round]! / own));
}
