import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { hasTool, startPrometheus } from "@vg/internal/prometheus";
import { describe, expect, onTestFinished, test } from "vitest";
import { expressionsOf } from "./support/expressions.ts";
import { listen } from "./support/server.ts";

const path = (name: string): string => fileURLToPath(new URL(`../${name}`, import.meta.url));
const rules = path("monitoring/alerts.yml");

interface Target {
  health: string;
  lastError: string;
}

describe.skipIf(!hasTool("prometheus"))("a real Prometheus (skipped where it is not on the PATH)", () => {
  test("scrapes a server in OpenMetrics, and answers what is asked about it", { timeout: 120_000 }, async () => {
    const { server, url, get } = await listen((_request, response) => void response.end("hello"), {
      postgresDsn: "postgres://user:password@127.0.0.1:1/none",
      serviceName: "scraped",
    });
    const hostile = 'a"b\\c\nd{e="f"} # \0é😀';
    const counter = server.metrics.counter({ name: "hostile_total", help: hostile, labelNames: ["value"] });
    const traceId = "0af7651916cd43dd8448eb211c80319c";
    counter.child({ value: hostile }).add(7, traceId, "b7ad6b7169203331");
    for (let i = 0; i < 20; i++) await (await get("/")).text();

    const prometheus = await startPrometheus(new URL(url).host, rules);
    onTestFinished(() => prometheus.stop());
    const of = async (expression: string): Promise<unknown> =>
      (await prometheus.query(expression)).map(({ value }) => value);
    await expect.poll(() => of("up"), { timeout: 20_000 }).toEqual([1]);
    await expect.poll(() => of("hostile_total"), { timeout: 20_000 }).toEqual([7]);

    expect((await prometheus.query("vg_build_info"))[0]?.metric).toMatchObject({
      service: "scraped",
      node: process.version,
    });
    expect((await prometheus.query("hostile_total"))[0]?.metric["value"]).toBe(hostile.replace("\0", "\uFFFD"));
    expect(await of('sum(http_server_request_duration_seconds_count{http_response_status_code="200"})')).toEqual([20]);
    expect(
      await of(
        'http_server_request_duration_seconds_bucket{le="+Inf"} - ignoring (le) http_server_request_duration_seconds_count',
      ),
    ).toEqual([0]);

    // Exemplars are in OpenMetrics only: this is what it asked for, and got.
    const exemplars = await prometheus.api("query_exemplars", {
      query: "hostile_total",
      start: String(Date.now() / 1000 - 60),
      end: String(Date.now() / 1000 + 60),
    });
    expect(exemplars).toMatchObject([{ exemplars: [{ labels: { trace_id: traceId }, value: "7" }] }]);
    const { activeTargets } = (await prometheus.api("targets")) as { activeTargets: Target[] };
    expect(activeTargets).toMatchObject([{ health: "up", lastError: "" }]);

    // Every panel and every alert is an expression that it can answer.
    const dashboard = readFileSync(path("monitoring/dashboard.json"), "utf8");
    const panels = [...dashboard.matchAll(/"expr": (".*")/g)].map(([, text = ""]) =>
      (JSON.parse(text) as string).replaceAll("$__rate_interval", "1m").replaceAll(/\$(job|instance)/g, ".*"),
    );
    const alerts = [...expressionsOf(readFileSync(rules, "utf8")).values()];
    expect(panels.length).toBeGreaterThan(40);
    await Promise.all([...panels, ...alerts].map(async (expression) => await prometheus.query(expression)));
    const { groups } = (await prometheus.api("rules")) as { groups: { rules: { name: string; health: string }[] }[] };
    const evaluated = groups.flatMap((group) => group.rules);
    expect(evaluated).toHaveLength(alerts.length);
    expect(evaluated.filter(({ health }) => health === "err")).toEqual([]);
  });
});
