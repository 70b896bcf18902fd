import { expect, test } from "vitest";
import { listen } from "./support/server.ts";

const hello = (_: unknown, response: { end(text: string): unknown }): void => void response.end("hello");

test("a server without a database is ready, and says so on every probe", async () => {
  const { server, get } = await listen(hello);
  expect(server.state).toBe("ready");
  expect(server.dbPool).toBeUndefined();
  for (const path of ["/livez", "/readyz", "/startupz"]) {
    const response = await get(path);
    expect([path, response.status, await response.json()]).toEqual([path, 200, { status: "ok", state: "ready" }]);
  }
});

test("the health document has the guide's pools and the service's profiler", async () => {
  const { get } = await listen(hello, { serviceName: "vaultgemma-localai", serviceVersion: "2.2.0" });
  await get("/work");
  const response = await get("/v2/health");
  expect(response.status).toBe(200);
  const health = (await response.json()) as { profiler: { latency: object }; pools: object };
  expect(health).toMatchObject({
    status: "ok",
    version: "2.2.0",
    service: { name: "vaultgemma-localai", version: "2.2.0", uptime: "0s" },
    metrics: { requests_total: 1 },
    profiler: { request_count: 1, error_count: 0, error_rate: 0 },
    pools: {
      http_pool: { request_count: 0, success_rate: 1 },
      inference_cache: { hit_rate: 0, entries: 0, capacity: 1000 },
      embedding_cache: { capacity: 500 },
    },
  });
  expect(Object.keys(health.profiler.latency)).toEqual(["avg_ms", "min_ms", "max_ms", "p50_ms", "p95_ms", "p99_ms"]);
  expect(health.pools).not.toHaveProperty("db_pool");
});

test("a failing check degrades the server, a critical one takes it out of readiness, and both recover by themselves", async () => {
  const broken = { optional: false, critical: false };
  const check = (name: "optional" | "critical") => ({
    critical: name === "critical",
    run: async () => {
      if (broken[name]) throw new Error(`${name} is down`);
    },
  });
  const { server, get } = await listen(hello);
  server.addHealthCheck("optional", check("optional"));
  server.addHealthCheck("critical", check("critical"));
  await server.checkHealth();
  expect(server.state).toBe("ready");

  broken.optional = true;
  await server.checkHealth();
  expect(server.state).toBe("degraded");
  expect((await get("/readyz")).status).toBe(200);
  const health = (await (await get("/v2/health")).json()) as { status: string; checks: Record<string, unknown> };
  expect(health.status).toBe("degraded");
  expect(health.checks["optional"]).toMatchObject({ status: "fail", output: "optional is down" });

  broken.critical = true;
  await server.checkHealth();
  expect((await get("/readyz")).status).toBe(503);
  expect((await get("/livez")).status).toBe(200);

  broken.optional = broken.critical = false;
  await server.checkHealth();
  expect(server.state).toBe("ready");
  expect((await get("/readyz")).status).toBe(200);
});

test("a check that never answers fails at its timeout and holds up no probe", async () => {
  const { server, get } = await listen(hello);
  server.addHealthCheck("hung", { timeoutMs: 20, run: () => new Promise(() => undefined) });
  await server.checkHealth();
  expect(server.getHealth().checks["hung"]).toMatchObject({ status: "fail", output: "no answer within 20 ms" });
  expect((await get("/readyz")).status).toBe(200);
});

test("probes take GET and HEAD only", async () => {
  const { url } = await listen(hello);
  expect((await fetch(`${url}/readyz`, { method: "HEAD" })).status).toBe(200);
  const post = await fetch(`${url}/metrics`, { method: "POST" });
  expect([post.status, post.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
});
