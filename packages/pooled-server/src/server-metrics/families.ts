import type { Labels, MetricFamily, Sample } from "../metrics/family.ts";
import { canonicalFloat } from "../metrics/numbers.ts";

export const gauge = (name: string, help: string, ...samples: Sample[]): MetricFamily => ({
  name,
  help,
  type: "gauge",
  samples,
});

export const counter = (name: string, help: string, ...samples: Sample[]): MetricFamily => ({
  name,
  help,
  type: "counter",
  samples,
});

/** One sample for each entry, whose key is the value of the label. */
export function byLabel(label: string, values: Readonly<Record<string, number>>, labels: Labels = {}): Sample[] {
  return Object.entries(values).map(([key, value]) => ({ labels: { ...labels, [label]: key }, value }));
}

/** What the pools keep of durations. */
interface DurationHistogram {
  readonly count: number;
  readonly sum_ms: number;
  readonly buckets: readonly { readonly le_ms: number; readonly count: number }[];
}

/** A pool's own histogram, in seconds. Count and sum are exact, the bounds sharp to 3.2 %. */
export function durations(
  name: string,
  help: string,
  { count, sum_ms, buckets }: DurationHistogram,
  labels: Labels = {},
): MetricFamily {
  const bucket = (le: number, value: number): Sample => ({
    suffix: "_bucket",
    labels: { ...labels, le: canonicalFloat(le) },
    value,
  });
  const samples = [
    ...buckets.map(({ le_ms, count: value }) => bucket(le_ms / 1000, value)),
    bucket(Infinity, count),
    { suffix: "_sum", labels, value: sum_ms / 1000 },
    { suffix: "_count", labels, value: count },
  ];
  return { name, help, type: "histogram", samples };
}
