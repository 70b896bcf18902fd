import { startEmbeddedPostgres, type EmbeddedPostgres } from "@vg/internal/embedded-postgres";
import type { DbPool } from "@vg/pool-db";
import { afterAll, beforeAll, expect, test } from "vitest";
import { listen } from "./support/server.ts";

const PATIENTLY = { timeout: 10_000 };

let postgres: EmbeddedPostgres;
beforeAll(async () => {
  postgres = await startEmbeddedPostgres();
});
afterAll(() => postgres.stop());

test("the document has every field of the service's and of the guide's, each of its kind", async () => {
  const { server, get } = await listen(
    async (request, response) => {
      if (request.url === "/fails") response.statusCode = 500;
      await server.dbPool?.query("select 1");
      response.end();
    },
    { postgresDsn: postgres.dsn, serviceName: "vaultgemma-localai", serviceVersion: "2.2.0" },
  );
  for (const path of ["/a", "/b", "/c", "/fails"]) await (await get(path)).text();
  await expect.poll(() => server.getHealth().metrics.requests_total, PATIENTLY).toBe(4);
  await expect.poll(() => server.getHealth().profiler.error_count, PATIENTLY).toBe(1);
  const response = await get("/v2/health");
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toBe("application/json; charset=utf-8");
  expect(response.headers.get("cache-control")).toBe("no-store");
  const number = expect.any(Number) as number;
  const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/) as string;
  const health: unknown = await response.json();
  expect(health).toMatchObject({
    pools: {
      db_pool: { open_connections: number, in_use: 0, idle: number, max_open_connections: 25, wait_count: number },
      http_pool: { success_rate: number, request_count: 0 },
      inference_cache: { hit_rate: number, entries: 0 },
      embedding_cache: { hit_rate: number, entries: 0 },
    },
  });
  // All but the pools' own documents, to the letter.
  const { pools, ...rest } = health as { pools: object };
  expect(Object.keys(pools)).toEqual(["db_pool", "http_pool", "inference_cache", "embedding_cache"]);
  expect(rest).toEqual({
    status: "ok",
    version: "2.2.0",
    timestamp: time,
    service: { name: "vaultgemma-localai", version: "2.2.0", uptime: expect.stringMatching(/^\d+s$/) as string },
    metrics: { requests_total: 4 },
    features: [
      "structured_logging",
      "inference_cache",
      "embedding_cache",
      "http_pool",
      "db_pool",
      "load_shedding",
      "metrics",
    ],
    findings: [],
    profiler: {
      uptime_seconds: number,
      request_count: 4,
      error_count: 1,
      error_rate: 0.25,
      latency: { avg_ms: number, min_ms: number, max_ms: number, p50_ms: number, p95_ms: number, p99_ms: number },
    },
    checks: {
      database: { status: "pass", critical: false, latency_ms: number, time, since: time },
    },
  });
});

test("a database that is killed degrades the server, without its password in the reason, and it recovers by itself", async () => {
  const { server, get } = await listen((_request, response) => response.end(), {
    postgresDsn: postgres.dsn,
    healthIntervalMs: 50,
    dbCritical: true,
  });
  expect([server.state, (await get("/readyz")).status]).toEqual(["ready", 200]);
  postgres.signal("SIGKILL");
  await postgres.exited();
  await expect.poll(() => server.state, PATIENTLY).toBe("degraded");
  expect((await get("/livez")).status).toBe(200);
  expect((await get("/readyz")).status).toBe(503);
  expect((await get("/readyz?exclude=database")).status).toBe(200);
  const health = await get("/v2/health");
  const text = await health.text();
  expect(health.status).toBe(200);
  expect(JSON.parse(text)).toMatchObject({
    status: "degraded",
    checks: { database: { status: "fail", output: expect.stringContaining("ECONNREFUSED") as string } },
  });
  expect(text).not.toContain(postgres.password);
  await postgres.restart();
  await expect.poll(() => server.state, PATIENTLY).toBe("ready");
  expect((await get("/readyz")).status).toBe(200);
});

test("a pool that is too small is no database that fails, as long as its connections come back", async () => {
  const { server } = await listen((_request, response) => response.end(), {
    postgresDsn: postgres.dsn,
    dbMaxOpenConns: 1,
    dbCritical: true,
    dbPool: { acquireTimeoutMs: 200 },
  });
  const pool = server.dbPool as DbPool;
  // One after the other, so that there is always one before the check in the line.
  const held = [await pool.acquire(), pool.acquire(), pool.acquire()] as const;
  const checked = server.checkHealth();
  held[0].release();
  (await held[1]).release();
  await checked;
  expect(server.getHealth().checks["database"]).toMatchObject({
    status: "pass",
    info: { saturated: true, pending: expect.any(Number) as number },
  });
  // One that nobody gives back is another matter.
  await server.checkHealth();
  expect(server.getHealth().checks["database"]).toMatchObject({ status: "fail" });
  (await held[2]).release();
  await server.checkHealth();
  expect(server.getHealth().checks["database"]).toMatchObject({ status: "pass" });
});

test("a check that waits for the database does not hold up the end", async () => {
  const { server } = await listen((_request, response) => response.end(), {
    postgresDsn: postgres.dsn,
    dbMaxOpenConns: 1,
    shutdownTimeoutMs: 10_000,
  });
  const pool = server.dbPool as DbPool;
  const held = await pool.acquire();
  const checked = server.checkHealth();
  const closing = server.close();
  await checked;
  held.release();
  const { clean, duration_ms } = await closing;
  expect(clean).toBe(true);
  expect(duration_ms).toBeLessThan(1_000);
});

test("who asks for application/health+json gets the draft's document; its status follows the draft's words", async () => {
  let works = true;
  const { server, get } = await listen((_request, response) => response.end(), { serviceName: "shop" });
  server.addHealthCheck("stock", {
    run: async () => {
      if (!works) throw new Error("empty");
      return { items: 3 };
    },
  });
  await server.checkHealth();
  const ask = async (accept: string): Promise<[string | null, Record<string, unknown>]> => {
    const response = await get("/v2/health", { accept });
    expect(response.headers.get("vary")).toBe("accept");
    return [response.headers.get("content-type"), (await response.json()) as Record<string, unknown>];
  };
  const [type, document] = await ask("application/health+json");
  expect(type).toBe("application/health+json");
  expect(document).toMatchObject({
    status: "pass",
    version: "0.0.0",
    releaseId: "0.0.0",
    serviceId: "shop",
    checks: {
      "stock:responseTime": [
        { componentType: "component", observedUnit: "ms", observedValue: expect.any(Number) as number, status: "pass" },
      ],
    },
  });
  works = false;
  await server.checkHealth();
  expect((await ask("application/health+json, application/json;q=0.5"))[1]).toMatchObject({
    status: "warn",
    checks: { "stock:responseTime": [{ status: "warn", output: "empty" }] },
  });
  for (const accept of [
    "*/*",
    "application/json",
    "application/json, application/health+json;q=0.9",
    "application/health+json;q=0",
  ]) {
    expect([accept, (await ask(accept))[0]]).toEqual([accept, "application/json; charset=utf-8"]);
  }
});
