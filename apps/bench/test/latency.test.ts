import assert from "node:assert/strict";
import { test } from "node:test";
import { LatencyHistogram } from "../harness/latency-histogram.ts";
import { percentileChart, percentileText } from "../latency/percentile-chart.ts";
import { causeOf, explain } from "../latency/stops.ts";

void test("a percentile of the histogram is right to 1 %, the maximum exactly", () => {
  const histogram = new LatencyHistogram();
  const values = Array.from({ length: 10_000 }, (_, i) => (i + 1) ** 2 + 0.5);
  for (const value of values) histogram.record(value);
  for (const share of [0.01, 0.5, 0.9, 0.999]) {
    const exact = values[Math.ceil(share * values.length) - 1]!;
    const found = histogram.percentile(share);
    assert.ok(Math.abs(found - exact) <= exact * 0.01 + 1, `${share}: ${found} instead of ${exact}`);
  }
  assert.equal(histogram.percentile(1), values.at(-1));
  assert.equal(histogram.maxNs, values.at(-1));
  assert.equal(histogram.count, values.length);
});

void test("the histogram takes durations from nothing to minutes", () => {
  const histogram = new LatencyHistogram();
  assert.equal(histogram.percentile(0.5), 0);
  for (const value of [0, 127, 128, 2 ** 31 - 1, 6e10]) histogram.record(value);
  assert.equal(histogram.percentile(0.2), 0);
  assert.equal(histogram.percentile(0.4), 127);
  assert.equal(histogram.percentile(0.6), 128);
  assert.equal(histogram.percentile(1), 6e10);
});

void test("a stop is laid to the collector, to the operating system, or to neither", () => {
  const pauses = [
    { at: 100, ms: 4, kind: "major" },
    { at: 200, ms: 1, kind: "minor" },
  ];
  const absences = [{ at: 300, ms: 6, offCpuMs: 5 }];
  const at = (start: number, ms: number) => explain({ what: "set", at: start, ms }, 50, pauses, absences);
  // Of the collection, only what lies in the stop.
  assert.deepEqual(at(102, 3), { what: "set", atMs: 52, ms: 3, gcMs: 2, gcKinds: "major", offCpuMs: 0 });
  assert.equal(causeOf(at(102, 3)), "major collection");
  assert.equal(causeOf(at(199, 10)), "work");
  assert.equal(causeOf(at(301, 5)), "not on the CPU");
  // It cannot have been away for longer than it took.
  assert.equal(at(301, 2).offCpuMs, 2);
});

void test("the picture has each line's longest time, the limit, and names that cannot break out of it", () => {
  const shares = [0.5, 0.9, 0.95, 0.99];
  const line = { label: "a<b", ours: true, ns: [100, 200, 300, 400], maxNs: 3e6 };
  const svg = percentileChart("t", "n", shares, 5e6, [
    { title: "p", lines: [line, { ...line, label: "c", ours: false }] },
  ]);
  assert.ok(!svg.includes("a<b") && svg.includes("a&lt;b"));
  assert.equal(svg.match(/<polyline/g)?.length, 2);
  assert.ok(svg.includes(">5 ms<") && svg.includes(">p90<") && svg.includes(">max<") && !svg.includes(">p95<"));
  assert.ok(!svg.includes("NaN"));
  assert.equal(percentileText(0.999999), "p99.9999");
});

void test("a picture without a limit has none", () => {
  const line = { label: "a", ours: true, ns: [100, 100], maxNs: 100 };
  const svg = percentileChart("t", "n", [0.5, 0.9], undefined, [{ title: "p", lines: [line] }]);
  assert.ok(!svg.includes('class="limit"') && !svg.includes("NaN") && !svg.includes("Infinity"));
});
