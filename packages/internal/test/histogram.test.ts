import fc from "fast-check";
import { expect, test } from "vitest";
import { createHistogram } from "../src/index.ts";

test("an empty histogram reports zeros", () => {
  const histogram = createHistogram();
  expect([histogram.count, histogram.mean, histogram.percentile(0.5)]).toEqual([0, 0, 0]);
});

test("every percentile is within 3.2 % of the exact one", () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0.001, max: 1e7, noNaN: true }), { minLength: 1, maxLength: 300 }),
      fc.double({ min: 0.001, max: 1, noNaN: true }),
      (values, p) => {
        const histogram = createHistogram();
        for (const value of values) histogram.record(value);
        const exact = values.toSorted((a, b) => a - b)[Math.max(1, Math.ceil(p * values.length)) - 1] as number;
        const reported = histogram.percentile(p);
        expect(Math.abs(reported - exact) / exact).toBeLessThanOrEqual(1 / 32);
      },
    ),
  );
});

test("count, sum, min and max are exact, whatever the values", () => {
  const histogram = createHistogram();
  for (const value of [0, 1e-9, 5, 1e300, -3, NaN]) histogram.record(value);
  expect(histogram.count).toBe(5);
  expect(histogram.sum).toBe(1e300);
  expect(histogram.min).toBe(0);
  expect(histogram.max).toBe(1e300);
  expect(histogram.percentile(1)).toBe(1e300);
});

test("counts at or below a bound never decrease as the bound grows, and end at the count", () => {
  const histogram = createHistogram();
  for (let i = 0; i < 1000; i++) histogram.record(i / 7);
  const bounds = [0, 0.5, 1, 5, 25, 100, 141.9, 1e9];
  const counts = bounds.map((bound) => histogram.countAtMost(bound));
  expect(counts).toEqual(counts.toSorted((a, b) => a - b));
  expect(counts.at(-1)).toBe(1000);
});

test("a snapshot has cumulative counts that never fall, and all values in its count", () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 200_000, noNaN: true })), (values) => {
      const histogram = createHistogram();
      for (const value of values) histogram.record(value);
      const { count, sum_ms, buckets } = histogram.snapshot();
      expect([count, sum_ms]).toEqual([values.length, histogram.sum]);
      for (const [i, bucket] of buckets.entries()) {
        const below = values.filter((value) => value < bucket.le_ms * (1 - 1 / 32)).length;
        const above = values.filter((value) => value <= bucket.le_ms * (1 + 1 / 32)).length;
        expect(bucket.count).toBeGreaterThanOrEqual(Math.max(below, buckets[i - 1]?.count ?? 0));
        expect(bucket.count).toBeLessThanOrEqual(above);
      }
    }),
  );
});
