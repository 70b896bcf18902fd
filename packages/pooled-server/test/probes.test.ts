import { PooledServer } from "@vg/pooled-server";
import { expect, onTestFinished, test } from "vitest";
import { freePort, gate, listen } from "./support/server.ts";

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

test("?verbose names the checks, ?exclude leaves some out, and neither falls through to the base server", async () => {
  const { server, get } = await listen(hello);
  const down = (): Promise<never> => Promise.reject(new Error("down"));
  server.addHealthCheck("database", { critical: true, run: down });
  server.addHealthCheck("mail", { run: () => ({ queued: 3 }) });
  await server.checkHealth();
  const ask = async (path: string): Promise<[number, unknown]> => {
    const response = await get(path);
    return [response.status, await response.json()];
  };
  const failing = { status: "unavailable", state: "degraded" };
  expect(await ask("/readyz")).toEqual([503, failing]);
  expect(await ask("/readyz?verbose=0")).toEqual([503, failing]);
  for (const path of ["/readyz?verbose", "/readyz?verbose=1"]) {
    expect(await ask(path)).toMatchObject([
      503,
      { ...failing, checks: { database: { status: "fail" }, mail: { status: "pass", info: { queued: 3 } } } },
    ]);
  }
  const [status, document] = await ask("/readyz?verbose&exclude=database&exclude=nothing");
  expect(status).toBe(200);
  expect(Object.keys((document as { checks: object }).checks)).toEqual(["mail"]);
  expect(await ask("/livez?verbose")).toEqual([200, { status: "ok", state: "degraded" }]);
});

test("a server that was closed before it had started never says that it has", async () => {
  const started = gate();
  const server = new PooledServer(hello, { logLevel: "silent", shutdownDelayMs: 5_000 });
  server.addHealthCheck("slow", {
    run: () => {
      started.open();
      return new Promise(() => undefined);
    },
  });
  const listening = server.listen(0);
  await started.opened;
  const closing = server.close();
  const { url } = await listening;
  expect((await fetch(`${url}/startupz`)).status).toBe(503);
  expect((await fetch(`${url}/livez`)).status).toBe(200);
  void server.destroy();
  await closing;
});

test("before the first checks are over, /startupz and /readyz say so and /livez does not mind", async () => {
  const mayPass = gate();
  const started = gate();
  const server = new PooledServer(hello, { logLevel: "silent" });
  onTestFinished(async () => void (await server.close()));
  server.addHealthCheck("slow", {
    run: () => {
      started.open();
      return mayPass.opened;
    },
  });
  const port = await freePort();
  const listening = server.listen(port);
  await started.opened;
  const status = async (path: string): Promise<number> => (await fetch(`http://127.0.0.1:${port}${path}`)).status;
  expect([await status("/livez"), await status("/readyz"), await status("/startupz")]).toEqual([200, 503, 503]);
  mayPass.open();
  await listening;
  expect([await status("/livez"), await status("/readyz"), await status("/startupz")]).toEqual([200, 200, 200]);
});

test("HEAD has the head of GET and no body", async () => {
  const { url } = await listen(hello);
  for (const path of ["/livez", "/readyz", "/startupz", "/v2/health", "/metrics"]) {
    const head = await fetch(`${url}${path}`, { method: "HEAD" });
    expect([path, head.status, Number(head.headers.get("content-length")) > 10]).toEqual([path, 200, true]);
    expect(await head.text()).toBe("");
  }
});

test("probes take GET and HEAD only", async () => {
  const { url } = await listen(hello);
  expect((await fetch(`${url}/readyz`, { method: "HEAD" })).status).toBe(200);
  const post = await fetch(`${url}/metrics`, { method: "POST" });
  expect([post.status, post.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
});
