import { execFileSync, spawnSync } from "node:child_process";
import { expect, test } from "vitest";
import { currentRequest } from "@vg/pooled-server";
import { MetricsRegistry } from "../src/metrics/registry.ts";
import { renderText } from "../src/metrics/text-format.ts";
import { listen } from "./support/server.ts";

const fail = (error: unknown): never => {
  throw error;
};

const promtool = spawnSync("promtool", ["--version"]).error === undefined;

test("/metrics counts requests by route, method and status", async () => {
  const { get } = await listen((_request, response) => {
    (currentRequest() as { route: string }).route = "/things/:id";
    response.statusCode = 201;
    response.end();
  });
  await get("/things/1");
  await get("/things/2");
  const response = await get("/metrics");
  expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  const text = await response.text();
  const labels = 'http_request_method="GET",http_route="/things/:id",http_response_status_code="201"';
  expect(text).toContain(`http_server_request_duration_seconds_count{${labels}} 2\n`);
  expect(text).toContain(`http_server_request_duration_seconds_bucket{${labels},le="+Inf"} 2\n`);
  expect(text).toContain('vg_cache_requests_total{cache="inference",result="hit"} 0\n');
  expect(text.endsWith("\n")).toBe(true);
});

test("a client's path never becomes a series", async () => {
  const { get } = await listen((_request, response) => response.end());
  for (let i = 0; i < 5; i++) await get(`/made-up-${i}`);
  const text = await (await get("/metrics")).text();
  expect(text).not.toContain("made-up");
  expect(text).toContain('http_route="other"');
});

test.skipIf(!promtool)("promtool check metrics finds nothing to say (skipped without promtool on PATH)", async () => {
  const { get, server } = await listen((_request, response) => response.end());
  await get("/");
  server.inferenceCache.set("k", "v");
  const text = await (await get("/metrics")).text();
  // Throws on any finding: 1 is a parse error, 3 is lint.
  expect(execFileSync("promtool", ["check", "metrics"], { input: text, encoding: "utf8" })).toBe("");
});

test("series whose labels only look alike stay apart, and too many share one", () => {
  const registry = new MetricsRegistry();
  const counter = registry.counter({ name: "x_total", help: "X." });
  counter.child({ a: "x,b:y", b: "z" }).add();
  counter.child({ a: "x", b: "y,b:z" }).add();
  for (let i = 0; i < 3_000; i++) counter.child({ a: String(i), b: "" }).add();
  const lines = renderText(registry.families(fail)).split("\n");
  expect(lines).toContain('x_total{a="x,b:y",b="z"} 1');
  expect(lines).toContain('x_total{a="x",b="y,b:z"} 1');
  expect(lines).toContain('x_total{a="_overflow",b="_overflow"} 1002');
});

test("label values and help texts are escaped", () => {
  const registry = new MetricsRegistry();
  registry.counter({ name: "x_total", help: "A\\B\nC" }).child({ path: 'a"b\\c\nd' }).add(2);
  expect(renderText(registry.families(fail))).toBe(
    '# HELP x_total A\\\\B\\nC\n# TYPE x_total counter\nx_total{path="a\\"b\\\\c\\nd"} 2\n',
  );
});
