import {
  Counter,
  Gauge,
  Histogram,
  Registry,
  Summary,
  collectDefaultMetrics,
  openMetricsContentType,
} from "prom-client";
import type { OpenMetricsContentType } from "prom-client";
import { expect, test } from "vitest";
import { MetricsRegistry } from "../src/metrics/registry.ts";
import { parseText } from "../src/metrics/text-parser.ts";
import { parseOpenMetrics } from "./support/open-metrics-parser.ts";
import { gate, listen } from "./support/server.ts";

const hello = (_: unknown, response: { end(text: string): unknown }): void => void response.end("hello");

/** A registry of prom-client's with a metric of each kind. */
function fill(registry: Registry | Registry<OpenMetricsContentType>): void {
  const registers = [registry];
  const labelNames = ["kind"];
  new Counter({ name: "jobs_total", help: 'Jobs "done".', labelNames, registers }).inc({ kind: 'a"b\\c\nd' }, 2);
  new Counter({ name: "bare", help: "Bare.", registers }).inc();
  new Gauge({ name: "room_celsius", help: "Temperature.", labelNames, registers }).set({ kind: "a" }, -3.5);
  const histogram = new Histogram({ name: "work_seconds", help: "Work.", labelNames, buckets: [0.1, 1], registers });
  histogram.observe({ kind: "a" }, 0.5);
  histogram.observe({ kind: "a" }, 5);
  new Summary({ name: "sizes_bytes", help: "Sizes.", percentiles: [0.5, 1], registers }).observe(7);
}

test("prom-client's metrics of every kind are shown in both formats, with the figures of its own answer", async () => {
  const registry = new MetricsRegistry();
  const theirs = new Registry();
  fill(theirs);
  registry.merge(theirs);
  const text = parseText(await registry.expose());
  const own = parseText((await theirs.metrics()).trimEnd().concat("\n"));
  for (const { name, help, type, samples } of own) {
    const shown = text.find((family) => family.name === name);
    expect(shown).toMatchObject({ name, help, type });
    expect(shown?.samples.map(({ suffix, value }) => [suffix, value])).toEqual(
      samples.map(({ suffix, value }) => [suffix, value]),
    );
  }
  const openMetrics = parseOpenMetrics(await registry.expose({ openMetrics: true }));
  expect(openMetrics.find(({ name }) => name === "jobs")?.samples).toEqual([
    { name: "jobs_total", labels: { kind: 'a"b\\c\nd' }, value: 2 },
  ]);
  // A name stays the same in both, so that without _total it is no counter in OpenMetrics.
  expect(openMetrics.find(({ name }) => name === "bare")).toMatchObject({ type: "unknown", samples: [{ value: 1 }] });
  expect(openMetrics.find(({ name }) => name === "work_seconds")?.samples).toHaveLength(5);
  expect(openMetrics.find(({ name }) => name === "sizes_bytes")).toMatchObject({ type: "summary", unit: "bytes" });
});

test("one that was made for OpenMetrics keeps its counters' names and its exemplars, whatever it did to them", async () => {
  const registry = new MetricsRegistry();
  const theirs = new Registry<OpenMetricsContentType>();
  theirs.setContentType(openMetricsContentType);
  fill(theirs);
  const histogram = new Histogram({
    name: "traced_seconds",
    help: "Traced.",
    buckets: [1],
    enableExemplars: true,
    registers: [theirs],
  });
  histogram.observe({ value: 0.5, labels: {}, exemplarLabels: { trace_id: "abc" } });
  // From here on, prom-client calls its counter jobs.
  await theirs.metrics();
  registry.merge(theirs);
  expect(await registry.expose()).toContain("# TYPE jobs_total counter\njobs_total{");
  const openMetrics = parseOpenMetrics(await registry.expose({ openMetrics: true }));
  expect(openMetrics.find(({ name }) => name === "jobs")?.samples[0]?.name).toBe("jobs_total");
  expect(openMetrics.find(({ name }) => name === "traced_seconds")?.samples[0]?.exemplar).toMatchObject({
    labels: { trace_id: "abc" },
    value: 0.5,
  });
});

test("where both have a name, the server's own metric stands, which is said once; the rest of theirs is there", async () => {
  const { server, get, logs } = await listen(hello);
  const theirs = new Registry();
  collectDefaultMetrics({ register: theirs });
  new Gauge({ name: "app_users", help: "Users.", registers: [theirs] }).set(3);
  const end = server.metrics.merge(theirs, { name: "registry of the app" });
  for (let i = 0; i < 2; i++) {
    const families = parseText(await (await get("/metrics")).text());
    const names = families.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
    expect(names).toEqual(expect.arrayContaining(["app_users", "nodejs_active_handles", "process_cpu_seconds_total"]));
    expect(families.find(({ name }) => name === "process_cpu_seconds_total")?.samples).toHaveLength(1);
  }
  const said = logs.filter({ message: "/metrics is not complete" }).map((line) => JSON.stringify(line));
  expect(said).toHaveLength(1);
  expect(said[0]).toContain('"level":"warn"');
  for (const part of ["registry of the app", "process_cpu_seconds_total"]) expect(said[0]).toContain(part);
  // It is a rule, and no fault that an alert should speak of.
  expect(await (await get("/metrics")).text()).toContain("vg_metrics_faults_total 0\n");
  parseOpenMetrics(await (await get("/metrics", { accept: "application/openmetrics-text" })).text());
  end();
  expect(await (await get("/metrics")).text()).not.toContain("app_users");
});

test("a registry that only gives text is read, and shown in both formats", async () => {
  const registry = new MetricsRegistry();
  const text =
    '# HELP jobs_total Jobs.\n# TYPE jobs_total counter\njobs_total{kind="a\\"b"} 2 1700000000000\n\n' +
    '# TYPE work_seconds histogram\nwork_seconds_bucket{le="1"} 1\nwork_seconds_bucket{le="+Inf"} 2\nwork_seconds_sum 3.5\nwork_seconds_count 2\n' +
    "plain 7\n";
  registry.merge({ metrics: () => text });
  expect(await registry.expose()).toContain('jobs_total{kind="a\\"b"} 2\n');
  const families = parseOpenMetrics(await registry.expose({ openMetrics: true }));
  expect(families.map(({ name, type }) => `${name} ${type}`)).toEqual(
    expect.arrayContaining(["jobs counter", "work_seconds histogram", "plain unknown"]),
  );
});

test.each([
  ["rejects", { getMetricsAsJSON: () => Promise.reject(new Error("no figures")) }, "no figures"],
  [
    "throws",
    {
      metrics() {
        throw new Error("no figures");
      },
    },
    "no figures",
  ],
  ["gives no list", { getMetricsAsJSON: () => ({}) }, "not a list"],
  ["gives a list of nothing", { getMetricsAsJSON: () => [null] }, "null where an object belongs"],
  ["gives no text", { metrics: () => 1 }, "not a text"],
  ["gives a page", { metrics: () => "<html>\n" }, "not in Prometheus' text format"],
  ["never answers", { metrics: () => new Promise(() => undefined) }, "did not answer within 50 ms"],
])("a registry that %s costs its own metrics and nobody else's", async (_what, theirs, why) => {
  const faults: unknown[] = [];
  const registry = new MetricsRegistry({}, (error) => faults.push(error));
  registry.merge(theirs, { timeoutMs: 50 });
  registry.merge({ metrics: () => "good 1\n" });
  registry.counter({ name: "x_total", help: "X." }).child().add();
  for (let i = 0; i < 2; i++) {
    const text = await registry.expose();
    expect(text).toContain("x_total 1\n");
    expect(text).toContain("good 1\n");
  }
  expect(faults.map(String)).toEqual([expect.stringContaining(why)]);
  expect(String(faults[0])).toContain("merged registry");
});

test("an answer that is late is waited for again, and not asked for a second time", async () => {
  const registry = new MetricsRegistry();
  const { opened, open } = gate<string>();
  let asked = 0;
  registry.merge({ metrics: () => (asked++, opened) }, { timeoutMs: 20 });
  expect(await registry.expose()).not.toContain("late");
  expect(await registry.expose()).not.toContain("late");
  expect(asked).toBe(1);
  open("late 1\n");
  await opened;
  expect(await registry.expose()).toContain("late 1\n");
});

test("what Prometheus has time for is what a registry has time for", async () => {
  const { server, get } = await listen(hello);
  server.metrics.merge({ metrics: () => new Promise(() => undefined) }, { timeoutMs: 60_000 });
  const response = await get("/metrics", { "x-prometheus-scrape-timeout-seconds": "0.2" });
  expect(await response.text()).toContain("vg_build_info");
});
