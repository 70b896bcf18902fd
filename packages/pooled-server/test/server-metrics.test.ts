import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { currentRequest } from "@vg/pooled-server";
import { expect, onTestFinished, test, vi } from "vitest";
import { EventLoopWatch } from "../src/server-metrics/event-loop.ts";
import { scrape, sum } from "./support/figures.ts";
import { listen } from "./support/server.ts";

test("/metrics counts requests by route, method and status", async () => {
  const { get } = await listen((_request, response) => {
    (currentRequest() as { route: string }).route = "/things/:id";
    response.statusCode = 201;
    response.end();
  });
  await get("/things/1");
  await get("/things/2");
  const text = await (await get("/metrics")).text();
  const labels = 'http_request_method="GET",http_route="/things/:id",http_response_status_code="201"';
  expect(text).toContain(`http_server_request_duration_seconds_count{${labels}} 2\n`);
  expect(text).toContain(`http_server_request_duration_seconds_bucket{${labels},le="+Inf"} 2\n`);
  expect(text).toContain('vg_cache_requests_total{cache="inference",result="hit"} 0\n');
});

test("a client's path never becomes a series", async () => {
  const { get } = await listen((_request, response) => response.end());
  for (let i = 0; i < 5; i++) await get(`/made-up-${i}`);
  const text = await (await get("/metrics")).text();
  expect(text).not.toContain("made-up");
  expect(text).toContain('http_route="other"');
});

test("the HTTP pool's figures are those of its own statistics, its sums exact and its connections by server", async () => {
  const upstream = createServer((request, response) => {
    response.statusCode = request.url === "/bad" ? 404 : request.url === "/broken" ? 500 : 200;
    response.end("hello");
  });
  await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void upstream.close());
  const url = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
  const one = await listen((_request, response) => response.end(), { httpPool: { maxRetries: 0 } });
  const { httpPool } = one.server;
  for (const path of ["/", "/", "/bad", "/broken"]) await (await httpPool.get(url + path)).text();

  const figures = await scrape(one);
  expect(sum(figures, "http_client_requests_total", { result: "success" })).toBe(3);
  expect(sum(figures, "http_client_requests_total", { result: "error" })).toBe(1);
  const { latency } = httpPool.histograms();
  expect(sum(figures, "http_client_request_duration_seconds_sum")).toBe(latency.sum_ms / 1000);
  expect(sum(figures, "http_client_request_duration_seconds_count")).toBe(4);
  expect(sum(figures, "http_client_request_duration_seconds_bucket", { le: "+Inf" })).toBe(4);
  expect(sum(figures, "http_client_received_bytes_total")).toBe(20);
  const { open_connections, idle_connections } = httpPool.getStats();
  const server = { server_address: "127.0.0.1", server_port: new URL(url).port };
  expect(sum(figures, "http_client_open_connections", server)).toBe(open_connections);
  expect(sum(figures, "http_client_open_connections")).toBe(open_connections);
  expect(sum(figures, "http_client_open_connections", { http_connection_state: "idle" })).toBe(idle_connections);
});

test("the caches' figures are those of their own statistics", async () => {
  const one = await listen((_request, response) => response.end(), {
    inferenceCacheCapacity: 2,
    inferenceCacheMaxBytes: 1_000,
  });
  const { inferenceCache } = one.server;
  for (const key of ["a", "b", "c"]) inferenceCache.set(key, key);
  inferenceCache.get("a");
  inferenceCache.get("c");
  const figures = await scrape(one);
  const cache = { cache: "inference" };
  expect(sum(figures, "vg_cache_requests_total", { ...cache, result: "hit" })).toBe(1);
  expect(sum(figures, "vg_cache_requests_total", { ...cache, result: "miss" })).toBe(1);
  expect(sum(figures, "vg_cache_hit_ratio", cache)).toBe(0.5);
  expect(sum(figures, "vg_cache_evictions_total", { ...cache, reason: "capacity" })).toBe(1);
  expect(sum(figures, "vg_cache_entries", cache)).toBe(2);
  expect(sum(figures, "vg_cache_capacity_entries", cache)).toBe(2);
  expect(sum(figures, "vg_cache_capacity_bytes", cache)).toBeCloseTo(1_000);
  expect(sum(figures, "vg_cache_capacity_bytes", { cache: "embedding" })).toBe(0);
});

test("states, checks and the log's lines are there, each by its label", async () => {
  const one = await listen((_request, response) => response.end());
  one.server.addHealthCheck("upstream", { run: () => Promise.reject(new Error("down")) });
  await one.server.checkHealth();
  const figures = await scrape(one);
  expect(sum(figures, "vg_server_state")).toBe(1);
  expect(sum(figures, "vg_server_state", { state: one.server.state })).toBe(1);
  expect(figures.get("vg_health_check_up")).toEqual([{ labels: { check: "upstream" }, value: 0 }]);
  expect(sum(figures, "vg_log_lines_total", { level: "info" })).toBeGreaterThan(0);
  expect(sum(figures, "vg_build_info", { service: "pooled-server", node: process.version })).toBe(1);
});

test("the event loop's figures are reset by no scraper: what one has read, another reads too", async () => {
  const one = await listen((_request, response) => response.end());
  const stop = performance.now() + 60;
  while (performance.now() < stop);
  const long = async (): Promise<number> => {
    const figures = await scrape(one);
    const upTo = sum(figures, "nodejs_eventloop_delay_seconds_bucket", { le: "0.025" });
    return sum(figures, "nodejs_eventloop_delay_seconds_count") - upTo;
  };
  await expect.poll(long).toBeGreaterThan(0);
  const before = await scrape(one);
  const seen = await long();
  expect(seen).toBeGreaterThan(0);
  const after = await scrape(one);
  for (const name of [
    "nodejs_eventloop_delay_seconds_count",
    "nodejs_eventloop_delay_seconds_sum",
    "nodejs_eventloop_time_seconds_total",
  ]) {
    expect(sum(after, name), name).toBeGreaterThanOrEqual(sum(before, name));
  }
  const { value } = after.get("nodejs_eventloop_utilization_ratio")![0]!;
  expect(value).toBeGreaterThan(0);
  expect(value).toBeLessThanOrEqual(1);
});

test("garbage collections are observed by their type", async () => {
  const one = await listen((_request, response) => response.end());
  const counted = async (): Promise<number> =>
    sum(await scrape(one), "v8js_gc_duration_seconds_count", { v8js_gc_type: "minor" });
  await expect
    .poll(async () => {
      // Enough garbage for a few collections of the young generation.
      const garbage = Array.from({ length: 1_000_000 }, (_, i) => ({ i }));
      return garbage.length > 0 && (await counted());
    })
    .toBeGreaterThan(0);
});

test("the watch over the event loop ends with its server", () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  onTestFinished(() => void vi.useRealTimers());
  let observed = 0;
  const watch = new EventLoopWatch({ observe: () => observed++ });
  vi.advanceTimersByTime(60);
  expect(observed).toBe(3);
  watch.stop();
  vi.advanceTimersByTime(60);
  expect(observed).toBe(3);
});
