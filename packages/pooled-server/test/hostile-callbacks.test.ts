import { expect, test } from "vitest";
import { listen } from "./support/server.ts";
import { wire } from "./support/wire.ts";

const hello = (_: unknown, response: { end(text: string): unknown }): void => void response.end("hello");

test.each([
  [
    "throws",
    () => {
      throw new Error("render");
    },
  ],
  ["returns what is no JSON", () => 1n],
  ["returns nothing", () => undefined],
])("a renderProblem that %s is replaced by the built-in document", async (_name, renderProblem) => {
  const { get, server } = await listen(hello, { rateLimitPerSecond: 1, renderProblem, clock: { now: () => 0 } });
  expect((await get("/")).status).toBe(200);
  const refused = await get("/");
  expect(refused.status).toBe(429);
  expect(await refused.json()).toMatchObject({ error: { code: "rate_limit_exceeded" } });
  expect(server.state).toBe("ready");
});

test("a collector that throws is missing from /metrics, is in the log, and hides no other", async () => {
  const { get, server, logs } = await listen(hello);
  server.metrics.collect(() => {
    throw new Error("no figures");
  });
  server.metrics.collect(function* lazily() {
    yield { name: "half_total", help: "Half.", type: "counter" as const, samples: [{ value: 1 }] };
    throw new Error("no more figures");
  });
  server.metrics.counter({ name: "jobs_done_total", help: "Jobs." }).child().add();
  const response = await get("/metrics");
  expect(response.status).toBe(200);
  const text = await response.text();
  expect(text).toContain("jobs_done_total 1\n");
  expect(text).toContain("vg_cache_entries");
  expect(text).not.toContain("half_total");
  expect(logs.filter({ level: "error" })).toHaveLength(2);
});

test("a listener that throws stops neither a change of state nor the other listeners", async () => {
  const { server, logs } = await listen(hello);
  const seen: string[] = [];
  server.onStateChange(() => {
    throw new Error("listener");
  });
  server.onStateChange((state) => seen.push(state));
  expect((await server.close()).clean).toBe(true);
  expect(seen).toEqual(["draining", "closed"]);
  expect(logs.find("A listener of onStateChange failed")).toBeDefined();
});

test("an identify that throws fails the request and nothing else", async () => {
  let broken = true;
  const { get } = await listen(hello, {
    rateLimitPerSecond: 5,
    identify: () => {
      if (broken) throw new Error("identify");
      return "somebody";
    },
  });
  expect((await get("/")).status).toBe(500);
  broken = false;
  expect((await get("/")).status).toBe(200);
});

test("an identify that throws fails the upgrade and nothing else", async () => {
  let taken = 0;
  const { server, url, get, logs } = await listen(hello, {
    rateLimitPerSecond: 5,
    identify: ({ headers }) => {
      if (headers.upgrade !== undefined) throw new Error("identify");
      return "somebody";
    },
  });
  server.onUpgrade(() => void taken++);
  const client = await wire(url);
  client.send("GET /socket HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
  expect(await client.closed).toMatch(/^HTTP\/1\.1 500 .*internal_error/s);
  expect((await get("/")).status).toBe(200);
  expect(taken).toBe(0);
  expect(logs.find({ level: "error" })).toMatchObject({ error: { message: "identify" } });
});

test("a health check that ignores its signal is not started again before it settles", async () => {
  const { server } = await listen(hello);
  let starts = 0;
  let settle!: () => void;
  server.addHealthCheck("hung", {
    timeoutMs: 5,
    run: () => {
      starts++;
      return new Promise<void>((resolve) => (settle = resolve));
    },
  });
  for (let i = 0; i < 4; i++) await server.checkHealth();
  expect(starts).toBe(1);
  expect(server.getHealth().checks["hung"]?.status).toBe("fail");
  settle();
  await expect.poll(async () => (await server.checkHealth(), starts)).toBe(2);
  settle();
});

test("what onClose says that it lost is in the report", async () => {
  const { server } = await listen(hello);
  server.onClose("writer", () => ["3 rows were lost"]);
  expect(await server.close()).toMatchObject({ clean: false, stuck: ["writer: 3 rows were lost"] });
});
