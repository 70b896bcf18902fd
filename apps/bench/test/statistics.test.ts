import assert from "node:assert/strict";
import { test } from "node:test";
import { median, percentile, speedRatios, summarise } from "../harness/statistics.ts";

void test("the median of an even number of values lies between the two in the middle", () => {
  assert.equal(median([5, 1, 4, 2]), 3);
  assert.equal(median([3, 1, 2]), 2);
  assert.ok(Number.isNaN(median([])));
});

void test("a percentile is one of the values, by nearest rank", () => {
  const values = Array.from({ length: 100 }, (_, i) => 100 - i);
  assert.equal(percentile(values, 0.95), 95);
  assert.equal(percentile(values, 1), 100);
  assert.equal(percentile([7], 0.5), 7);
});

void test("a summary holds the whole spread", () => {
  assert.deepEqual(summarise([3, 9, 1]), { median: 3, min: 1, max: 9 });
});

void test("a disturbance that hits both sides of a round drops out of the ratio", () => {
  // The second round was ten times slower for both.
  assert.deepEqual(speedRatios([10, 100, 10], [20, 200, 20]), { median: 2, min: 2, max: 2 });
});

void test("a ratio above 1 means that ours took less time", () => {
  assert.equal(speedRatios([10], [15]).median, 1.5);
  assert.equal(speedRatios([15], [10]).median, 2 / 3);
});
