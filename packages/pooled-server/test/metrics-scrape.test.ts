import { request as httpRequest, type IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import { MetricsRegistry } from "../src/metrics/registry.ts";
import { Scrapes } from "../src/metrics/scrapes.ts";
import { parseText } from "../src/metrics/text-parser.ts";
import { parseOpenMetrics } from "./support/open-metrics-parser.ts";
import { gate, listen } from "./support/server.ts";

const hello = (_: unknown, response: { end(text: string): unknown }): void => void response.end("hello");

/** fetch would undo the compression, and cannot leave in the middle. */
async function raw(url: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  return await new Promise((resolve, reject) => {
    httpRequest(url, { headers }, resolve).once("error", reject).end();
  });
}

function manySeries(registry: MetricsRegistry, count: number): void {
  const counter = registry.counter({ name: "many_total", help: "Many.", labelNames: ["series"], maxSeries: count });
  for (let i = 0; i < count; i++) counter.child({ series: `number-${i}` }).add(i);
}

test("each scrape gets the format that it asks for, and neither changes the other", async () => {
  const { get } = await listen(hello);
  for (const accept of ["text/plain", "application/openmetrics-text", "*/*"]) {
    const response = await get("/metrics", { accept });
    const body = await response.text();
    expect(response.headers.get("vary")).toBe("accept, accept-encoding");
    expect(Number(response.headers.get("content-length"))).toBeGreaterThan(0);
    if (accept === "application/openmetrics-text") {
      expect(response.headers.get("content-type")).toBe("application/openmetrics-text; version=1.0.0; charset=utf-8");
      expect(parseOpenMetrics(body).map(({ name }) => name)).toContain("vg_cache_requests");
    } else {
      expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
      expect(parseText(body).map(({ name }) => name)).toContain("vg_cache_requests_total");
    }
  }
});

test("name[] chooses metrics by their names or those of their lines", async () => {
  const { get } = await listen(hello);
  await (await get("/")).text();
  const names = async (query: string): Promise<string[]> =>
    parseText(await (await get(`/metrics?${query}`)).text()).map(({ name }) => name);
  expect(await names("name[]=vg_cache_entries&name[]=vg_build_info&name%5B%5D=unknown")).toEqual([
    "vg_build_info",
    "vg_cache_entries",
  ]);
  expect(await names("name[]=http_server_request_duration_seconds_bucket")).toEqual([
    "http_server_request_duration_seconds",
  ]);
  expect(await names("name[]=unknown")).toEqual([]);
  expect((await names("other=1")).length).toBeGreaterThan(20);
  const openMetrics = await get("/metrics?name[]=vg_cache_requests", { accept: "application/openmetrics-text" });
  expect(parseOpenMetrics(await openMetrics.text())).toHaveLength(1);
});

test("compressed only where that is asked for, and where it is worth it", async () => {
  const { url } = await listen(hello);
  const gzip = { "accept-encoding": "gzip" };
  const compressed = await raw(`${url}/metrics`, gzip);
  expect(compressed.headers["content-encoding"]).toBe("gzip");
  const chunks: Buffer[] = [];
  for await (const chunk of compressed) chunks.push(chunk as Buffer);
  expect(Buffer.concat(chunks)).toHaveLength(Number(compressed.headers["content-length"]));
  expect(parseText(gunzipSync(Buffer.concat(chunks)).toString()).length).toBeGreaterThan(20);
  const plain = await raw(`${url}/metrics`);
  expect(plain.headers["content-encoding"]).toBeUndefined();
  expect(parseText(await text(plain)).length).toBeGreaterThan(20);
  const small = await raw(`${url}/metrics?name[]=vg_build_info`, gzip);
  expect(small.headers["content-encoding"]).toBeUndefined();
  small.resume();
});

test("HEAD has the headers of GET, and no body", async () => {
  const { url } = await listen(hello);
  const response = await fetch(`${url}/metrics`, { method: "HEAD" });
  expect(Number(response.headers.get("content-length"))).toBeGreaterThan(1_000);
  expect(await response.text()).toBe("");
});

test("a scrape gives the loop back between its pieces, and each piece is small", async () => {
  const registry = new MetricsRegistry();
  manySeries(registry, 20_000);
  let turns = 0;
  const count = (): void => {
    turns++;
    next = setImmediate(count);
  };
  let next = setImmediate(count);
  const chunks = await registry.exposeInPieces();
  clearImmediate(next);
  const sizes = chunks.map((chunk) => chunk.byteLength);
  expect(sizes.length).toBeGreaterThan(5);
  expect(Math.max(...sizes)).toBeLessThan(66 * 1024);
  expect(turns).toBeGreaterThanOrEqual(sizes.length - 1);
  expect(parseText(Buffer.concat(chunks).toString())[0]?.samples).toHaveLength(20_000);
});

test("scrapes at the same time are one; a later one sees what has happened meanwhile", async () => {
  const { get, server } = await listen(hello);
  let asked = 0;
  server.metrics.collect(() => {
    asked++;
    return [];
  });
  // Enough to take a few turns.
  manySeries(server.metrics, 50_000);
  const bodies = await Promise.all([1, 2, 3, 4].map(async () => await (await get("/metrics")).text()));
  expect(new Set(bodies).size).toBeLessThan(4);
  expect(asked).toBeLessThan(4);
  const before = asked;
  const counter = server.metrics.counter({ name: "x_total", help: "X." }).child();
  for (let i = 1; i <= 3; i++) {
    counter.add();
    expect(await (await get("/metrics?name[]=x_total")).text()).toContain(`x_total ${i}\n`);
  }
  expect(asked).toBe(before + 3);
});

test("no more than two scrapes are made at a time; a third kind is told to come back", async () => {
  const { get, server } = await listen(hello);
  const { opened, open } = gate<string>();
  server.metrics.merge({ metrics: () => opened });
  const first = get("/metrics");
  const second = get("/metrics?name[]=vg_build_info");
  await expect.poll(async () => (await get("/metrics?name[]=vg_cache_entries")).status).toBe(503);
  const refused = await get("/metrics?name[]=vg_cache_entries");
  expect(refused.headers.get("retry-after")).toBe("1");
  await refused.text();
  // One of a kind that is under way joins it.
  const joined = get("/metrics");
  open("merged 1\n");
  for (const response of await Promise.all([first, second, joined])) {
    expect(response.status).toBe(200);
    await response.text();
  }
});

test("a scrape that began more than 100 ms ago is not joined", async () => {
  let now = 0;
  const scrapes = new Scrapes({ now: () => now });
  const left = new AbortController().signal;
  const { opened, open } = gate<Buffer<ArrayBuffer>[]>();
  let runs = 0;
  const run = (): Promise<Buffer<ArrayBuffer>[]> => {
    runs++;
    return opened;
  };
  const first = scrapes.join("all", left, run);
  now = 100;
  const joined = scrapes.join("all", left, run);
  expect(runs).toBe(1);
  now = 101;
  const late = scrapes.join("all", left, run);
  expect(runs).toBe(2);
  expect(await scrapes.join("other", left, run)).toBeUndefined();
  open([Buffer.from("a 1\n")]);
  expect((await first)?.bytes).toBe(4);
  expect(await joined).toBe(await first);
  expect(await late).not.toBe(await first);
  expect(await scrapes.join("other", left, run)).toBeDefined();
});

test("a scrape that all have left ends, and one who stays keeps it", async () => {
  const scrapes = new Scrapes();
  const registry = new MetricsRegistry();
  let lines = 0;
  const samples = function* samples(): Generator<{ labels: Record<string, string>; value: number }> {
    for (; lines < 100_000; lines++) yield { labels: { line: String(lines) }, value: lines };
  };
  registry.collect(() => [{ name: "a", help: "A.", type: "gauge", samples: samples() }]);
  const run = (signal: AbortSignal): Promise<Buffer<ArrayBuffer>[]> => registry.exposeInPieces({ signal });

  const [one, other] = [new AbortController(), new AbortController()];
  const leaving = [scrapes.join("all", one.signal, run), scrapes.join("all", other.signal, run)];
  const ended = Promise.allSettled(leaving);
  await nextTurn();
  one.abort();
  await nextTurn();
  other.abort();
  expect((await ended).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  expect(lines).toBeLessThan(100_000);

  const staying = new AbortController();
  const gone = new AbortController();
  lines = 99_000;
  const kept = scrapes.join("all", staying.signal, run);
  const left = scrapes.join("all", gone.signal, run);
  gone.abort();
  expect(await kept).toBe(await left);
  expect(lines).toBe(100_000);
});

test("a client that leaves in the middle is no fault, and the next one is served", async () => {
  const { url, server, get, logs } = await listen(hello);
  manySeries(server.metrics, 50_000);
  for (let i = 0; i < 3; i++) {
    const request = httpRequest(`${url}/metrics`);
    request.on("error", () => undefined);
    request.end();
    await new Promise<void>((resolve) => {
      if (i === 0) request.once("finish", () => resolve());
      else request.once("response", () => resolve());
    });
    request.destroy();
  }
  expect(parseText(await (await get("/metrics")).text()).length).toBeGreaterThan(20);
  expect(logs.filter({ level: "error" })).toEqual([]);
});

test("a reader that is slow holds nobody up", async () => {
  const { url, server, get } = await listen(hello);
  manySeries(server.metrics, 50_000);
  const slow = await raw(`${url}/metrics`);
  slow.pause();
  const quick = await (await get("/metrics")).text();
  expect(parseText(await text(slow)).map(({ name }) => name)).toEqual(parseText(quick).map(({ name }) => name));
});
