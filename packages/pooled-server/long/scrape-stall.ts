/**
 * A scrape of 10,000 series, of each kind and in both formats: the event loop never stands still for 10 ms, the first
 * scrape of the process included. prom-client is shown beside it. A bound on real time, so it lives here and not among the
 * tests.
 */
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { Counter, Registry } from "prom-client";
import { MetricsRegistry } from "../src/metrics/registry.ts";

const SERIES = 10_000;
const SCRAPES = 20;
const LIMIT_MS = 10;

const labels = (i: number): Record<string, string> => ({
  method: "POST",
  route: `/v1/models/number-${i}`,
  status: "200",
});
const labelNames = ["method", "route", "status"];

/** How long the loop did nothing else at a time, at most, while it ran. */
async function longestStall(run: () => Promise<unknown>): Promise<number> {
  // What came before is over, garbage included.
  await delay(20);
  let longest = 0;
  let last = performance.now();
  const turn = (): void => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
    next = setImmediate(turn);
  };
  let next = setImmediate(turn);
  await run();
  // The turn in which it ended counts too.
  await new Promise((resolve) => setImmediate(resolve));
  clearImmediate(next);
  return longest;
}

async function stalls(what: string, run: () => Promise<unknown>): Promise<number> {
  const all: number[] = [];
  for (let i = 0; i < SCRAPES; i++) all.push(await longestStall(run));
  const [first = 0] = all;
  const worst = Math.max(...all);
  console.log(`${what}: longest stall ${worst.toFixed(2)} ms, of the first scrape ${first.toFixed(2)} ms`);
  return worst;
}

const counters = new MetricsRegistry({ maxSeries: SERIES });
const counter = counters.counter({ name: "requests_total", help: "Requests.", labelNames });
for (let i = 0; i < SERIES; i++) counter.child(labels(i)).add(i);

const histograms = new MetricsRegistry({ maxSeries: SERIES });
const histogram = histograms.histogram({ name: "duration_seconds", help: "Duration.", labelNames });
for (let i = 0; i < SERIES / 17; i++) histogram.child(labels(i)).observe(i / 100);

const collected = new MetricsRegistry();
const samples = Array.from({ length: SERIES }, (_, i) => ({ labels: labels(i), value: i }));
collected.collect(() => [{ name: "requests_total", help: "Requests.", type: "counter", samples }]);

const register = new Registry();
const theirs = new Counter({ name: "requests_total", help: "Requests.", labelNames, registers: [register] });
for (let i = 0; i < SERIES; i++) theirs.inc(labels(i), i);

const worst = Math.max(
  await stalls("counters", () => counters.exposeInPieces()),
  await stalls("counters, OpenMetrics", () => counters.exposeInPieces({ openMetrics: true })),
  await stalls("histograms", () => histograms.exposeInPieces()),
  await stalls("a collector's samples", () => collected.exposeInPieces()),
);
await stalls("prom-client, counters", () => register.metrics());
assert.ok(worst < LIMIT_MS, `the event loop stood still for ${worst.toFixed(2)} ms; the limit is ${LIMIT_MS} ms`);
