import { performance } from "node:perf_hooks";
import type { Progress } from "../harness/progress.ts";
import { percentile, summarise } from "../harness/statistics.ts";

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
  minMs: number;
  maxMs: number;
}

export interface Limits {
  /** At most so many of each. */
  pairs: number;
  /** At most so long in all. */
  budgetMs: number;
}

/** Of a quick run and of a full one. */
export const GUIDE_LIMITS: Readonly<Record<"quick" | "full", Limits>> = {
  quick: { pairs: 30, budgetMs: 1500 },
  full: { pairs: 500, budgetMs: 10_000 },
};

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
  const { median: p50Ms, min: minMs, max: maxMs } = summarise(values);
  return { count: values.length, p50Ms, p95Ms: percentile(values, 0.95), minMs, maxMs };
}

/** Whether a change is as large as it has to be; what the guide claims stands beside. */
export function verdict(change: number, bar: number, claim: string): string {
  const met = change <= bar ? "met" : "missed";
  return `The bar: ${percent(bar)}, where the guide says ${claim}: ${met}, with ${percent(change, 1)}.`;
}

export function percent(change: number, digits = 0): string {
  return `${change > 0 ? "+" : ""}${(change * 100).toFixed(digits)} %`;
}

/** How many milliseconds a piece of work took. */
export async function timed(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}
