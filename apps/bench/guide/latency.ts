import { performance } from "node:perf_hooks";
import type { Progress } from "../harness/progress.ts";
import { median, percentile } from "../harness/statistics.ts";

/** Milliseconds that a caller waited, before (a new connection each time) and after (through the pool). */
export interface LatencyPair {
  before: Latency;
  after: Latency;
  /** The change of the median: -0.6 is 60 % less. */
  change: number;
}

export interface Latency {
  count: number;
  p50Ms: number;
  p95Ms: number;
}

export interface Limits {
  /** At most so many of each. */
  pairs: number;
  /** At most so long in all. */
  budgetMs: number;
}

/**
 * Measures two ways of doing the same thing one after the other, in turns, until the limits: `before` and `after` return
 * how many milliseconds the caller waited, without what comes after its answer.
 */
export async function measurePairs(
  label: string,
  sides: { before(index: number): Promise<number>; after(index: number): Promise<number> },
  { pairs, budgetMs }: Limits,
  progress: Progress,
): Promise<LatencyPair> {
  const warmUps = Math.min(20, pairs);
  for (let i = 0; i < warmUps; i++) {
    await sides.before(i);
    await sides.after(i);
  }
  const before: number[] = [];
  const after: number[] = [];
  const start = performance.now();
  for (let i = 0; i < pairs && performance.now() - start < budgetMs; i++) {
    progress.show(label, `${i} of ${pairs}`, Math.max(i / pairs, (performance.now() - start) / budgetMs));
    // Whoever comes second may find warmer caches, so they take turns at that too.
    if (i % 2 === 0) before.push(await sides.before(i));
    after.push(await sides.after(i));
    if (i % 2 === 1) before.push(await sides.before(i));
  }
  progress.done();
  return latencyPair(before, after);
}

function latencyPair(before: readonly number[], after: readonly number[]): LatencyPair {
  const [first, second] = [latency(before), latency(after)];
  return { before: first, after: second, change: second.p50Ms / first.p50Ms - 1 };
}

export function latency(values: readonly number[]): Latency {
  return { count: values.length, p50Ms: median(values), p95Ms: percentile(values, 0.95) };
}

/** How many milliseconds a piece of work took. */
export async function timed(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}
