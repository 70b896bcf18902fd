/**
 * A scrape of 10,000 series, of each kind and in both formats: no turn of the event loop computes for 10 ms, those of the
 * first scrape included. prom-client is shown beside it. The bound is on the thread's own time, as what other processes take
 * from it is not the scrape's doing; the time by the clock is shown. A bound on speed, so it lives here and not among the
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

interface Stall {
  /** By the clock. */
  ms: number;
  /** Of the thread; to about a millisecond. */
  cpuMs: number;
}

function threadMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

/** How long the loop did nothing else at a time, at most, while it ran. */
async function longestStall(run: () => Promise<unknown>): Promise<Stall> {
  // What came before is over, garbage included.
  await delay(20);
  const longest = { ms: 0, cpuMs: 0 };
  let last = { ms: performance.now(), cpuMs: threadMs() };
  const turn = (): void => {
    const now = { ms: performance.now(), cpuMs: threadMs() };
    longest.ms = Math.max(longest.ms, now.ms - last.ms);
    longest.cpuMs = Math.max(longest.cpuMs, now.cpuMs - last.cpuMs);
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
  const all: Stall[] = [];
  for (let i = 0; i < SCRAPES; i++) all.push(await longestStall(run));
  const worst = (of: readonly Stall[], key: keyof Stall): string => Math.max(...of.map((one) => one[key])).toFixed(2);
  const first = all.slice(0, 1);
  console.log(
    `${what}: longest turn ${worst(all, "cpuMs")} ms of computing (${worst(all, "ms")} ms by the clock), in the first scrape ${worst(first, "cpuMs")} ms (${worst(first, "ms")} ms)`,
  );
  return Math.max(...all.map(({ cpuMs }) => cpuMs));
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
assert.ok(worst < LIMIT_MS, `a turn of the event loop took ${worst.toFixed(2)} ms; the limit is ${LIMIT_MS} ms`);
