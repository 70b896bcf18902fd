import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { hasTool } from "@vg/internal/prometheus";
import { describe, expect, test } from "vitest";
import { parseText } from "../src/metrics/text-parser.ts";
import { expressionsOf, mentioned } from "./support/expressions.ts";
import { parseOpenMetrics } from "./support/open-metrics-parser.ts";
import { ask, stream, words } from "./support/inference.ts";
import { listen } from "./support/server.ts";

const path = (name: string): string => fileURLToPath(new URL(`../${name}`, import.meta.url));
const rules = readFileSync(path("monitoring/alerts.yml"), "utf8");
const dashboard = JSON.parse(readFileSync(path("monitoring/dashboard.json"), "utf8")) as {
  panels: {
    id: number;
    title: string;
    gridPos: { x: number; y: number; w: number; h: number };
    targets?: { expr: string }[];
  }[];
};

const panels = dashboard.panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => [title, expr] as const));
const alerts = [...expressionsOf(rules)];

const promtool = (...args: string[]): string =>
  execFileSync("promtool", args, { encoding: "utf8", cwd: path("test/monitoring") });

/** A server with all its parts, and something of everything through it. */
async function scraped(accept: string): Promise<string> {
  const { get, server } = await listen((_request, response) => void response.end("hello"), {
    // Nobody is there: the pool has figures all the same.
    postgresDsn: "postgres://user:password@127.0.0.1:1/none",
    dbOperationMetrics: true,
    inferenceCacheMode: "always",
    inference: { prices: { m: { input: 2.5, output: 10 } } },
  });
  await (await get("/")).text();
  await server.dbPool?.query("select 1").catch(() => undefined);
  server.inferenceCache.set("key", "value");
  const { inference } = server;
  const request = { route: "/v1/chat/completions", body: ask() };
  for (let i = 0; i < 2; i++) await (await inference.complete(request, () => stream(words("hello you")))).document();
  await inference.complete({ ...request, route: "/" }, () => stream([])).catch(() => undefined);
  return await (await get("/metrics", { accept })).text();
}

test("every metric and label that an alert or a panel speaks of is in a real scrape", async () => {
  const labels = new Map<string, Set<string>>();
  for (const { name, samples } of parseText(await scraped("text/plain"))) {
    for (const { suffix, labels: own = {} } of samples) {
      const line = name + suffix;
      labels.set(line, new Set([...(labels.get(line) ?? []), ...Object.keys(own)]));
    }
  }
  expect(alerts.length).toBeGreaterThan(20);
  expect(panels.length).toBeGreaterThan(40);
  for (const [where, expression] of [...alerts, ...panels]) {
    const { metrics, labels: wanted } = mentioned(expression);
    expect(metrics, `${where}: ${expression}`).not.toEqual([]);
    for (const metric of metrics) expect(labels.has(metric), `${where} speaks of ${metric}`).toBe(true);
    for (const label of wanted) {
      const there = metrics.some((metric) => labels.get(metric)?.has(label));
      expect(there, `${where} speaks of the label ${label}`).toBe(true);
    }
  }
});

test("what an expression speaks of is found", () => {
  expect(
    mentioned(
      'sum by (a, le) (rate(x_total{b="y{z}",job=~"$job"}[5m] offset 1d)) # c\n / scalar(sum(w)) > 2 * y_bytes',
    ),
  ).toEqual({ metrics: ["x_total", "w", "y_bytes"], labels: ["b", "a"] });
  expect(
    Object.fromEntries(
      expressionsOf(
        "  - alert: A\n        # why\n        expr: a > 1\n        for: 5m\n  - alert: B\n        expr: |\n          b\n            / c > 1\n        labels: {}\n",
      ),
    ),
  ).toEqual({
    A: "a > 1",
    B: "b\n            / c > 1",
  });
});

test("each alert says in a line what to do, and has a test", () => {
  const tests = readFileSync(path("test/monitoring/alerts.test.yml"), "utf8");
  for (const rule of rules.split(/^ *- alert: /m).slice(1)) {
    const name = rule.slice(0, rule.indexOf("\n"));
    expect(rule, name).toMatch(/^ {10}summary: ".+"$/m);
    expect(rule, name).toMatch(/^ {10}runbook: ".{40,}"$/m);
    expect(rule, name).toMatch(/severity: (info|warning|critical)/);
    expect(tests, name).toContain(`{alertname="${name}"}`);
  }
});

test("panels have ids and places of their own on the dashboard", () => {
  const ids = dashboard.panels.map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  const cells = dashboard.panels.flatMap(({ gridPos: { x, y, w, h } }) =>
    Array.from({ length: w * h }, (_, i) => `${x + (i % w)} ${y + Math.floor(i / w)}`),
  );
  expect(new Set(cells).size).toBe(cells.length);
  expect(Math.max(...dashboard.panels.map(({ gridPos: { x, w } }) => x + w))).toBe(24);
});

test("a server's whole answer holds to OpenMetrics", async () => {
  const families = parseOpenMetrics(await scraped("application/openmetrics-text"));
  const units = Object.fromEntries(families.map(({ name, unit }) => [name, unit]));
  expect(units).toMatchObject({
    http_server_request_duration_seconds: "seconds",
    db_client_connection_wait_time_seconds: "seconds",
    http_client_received_bytes: "bytes",
    vg_cache_hit_ratio: "ratio",
    vg_cache_entries: undefined,
  });
});

describe.skipIf(!hasTool("promtool"))("promtool (skipped where it is not on the PATH)", { timeout: 120_000 }, () => {
  test("check metrics finds nothing to say about a server's answer", async () => {
    const input = await scraped("text/plain");
    // Throws on any finding: 1 is a parse error, 3 is lint.
    expect(execFileSync("promtool", ["check", "metrics"], { input, encoding: "utf8" })).toBe("");
  });

  test("check rules finds nothing to say about the alerts", () => {
    expect(promtool("check", "rules", path("monitoring/alerts.yml"))).toContain(
      `SUCCESS: ${alerts.length} rules found`,
    );
  });

  test("test rules: each alert fires on what it is for, and none for a server that is well", () => {
    expect(promtool("test", "rules", "alerts.test.yml")).toContain("SUCCESS");
  });
});
