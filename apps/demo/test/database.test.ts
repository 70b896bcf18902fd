import { startEmbeddedPostgres } from "@vg/internal/embedded-postgres";
import { expect, onTestFinished, test } from "vitest";
import { UsageWriter, type UsageRow } from "../src/usage/usage-writer.ts";
import type { DbPool } from "@vg/pool-db";
import { captureLogs } from "@vg/logging/testing";
import { ask, withDemo } from "./support/demo.ts";

const row = (fields: Partial<UsageRow>): UsageRow => ({
  request_id: "r",
  trace_id: "t",
  route: "/x",
  status: 200,
  model: null,
  domain: null,
  prompt_tokens: 0,
  completion_tokens: 0,
  total_tokens: 0,
  latency_ms: 1,
  cache_hit: false,
  workflow_id: "direct",
  user_id: null,
  session_id: null,
  ...fields,
});

test("while the database is away completions go on, usage waits, and all of it arrives when the database is back", async () => {
  // One of the test's own: the demo starts its embedded one again by itself.
  const postgres = await startEmbeddedPostgres();
  onTestFinished(() => postgres.stop());
  const demo = await withDemo({ POSTGRES_DSN: postgres.dsn });
  expect((await demo.post("/v2/chat/completions", ask("Before?", { max_tokens: 3 }))).status).toBe(200);
  await demo.usage?.settled(5_000);

  postgres.signal("SIGKILL");
  await postgres.exited();
  await expect.poll(() => demo.server.state, { timeout: 10_000 }).toBe("degraded");
  for (let i = 0; i < 5; i++) {
    expect((await demo.post("/v2/chat/completions", ask(`During ${i}?`, { max_tokens: 3 }))).status).toBe(200);
  }
  expect((await demo.get("/readyz")).status).toBe(200);
  const unavailable = await demo.get("/v2/usage");
  expect(unavailable.status).toBe(503);
  expect(await unavailable.json()).toMatchObject({ error: { code: "service_unavailable", retry_after: 5 } });

  await postgres.restart();
  await expect.poll(() => demo.server.state, { timeout: 10_000 }).toBe("ready");
  const total = async () => {
    const page = (await (await demo.get("/v2/usage")).json()) as { totals?: { requests: number } };
    return page.totals?.requests;
  };
  await expect.poll(total, { timeout: 15_000, interval: 200 }).toBe(6);
  expect(demo.usage?.getStats()).toMatchObject({ queued: 0, written: 6, lost: 0 });
});

test("a configured database that cannot be reached is no reason not to start", async () => {
  const demo = await withDemo({ POSTGRES_DSN: "postgres://user:hunter2@127.0.0.1:1/db" });
  expect(demo.database).toBe("configured");
  expect(demo.server.state).toBe("degraded");
  expect((await demo.post("/v2/chat/completions", ask("Anybody?", { max_tokens: 3 }))).status).toBe(200);
  const health = JSON.stringify(await (await demo.get("/v2/health")).json());
  expect(health).toContain("ECONNREFUSED");
  expect(health).not.toContain("hunter2");
  expect(await demo.close()).toMatchObject({ clean: false, stuck: ["usage rows: 1 rows were lost"] });
  expect(demo.usage?.getStats()).toMatchObject({ lost: 1, queued: 0 });
  const loss = demo.logs.find({ message: "Usage rows were lost" });
  expect(loss).toMatchObject({ rows: 1, lost_in_all: 1 });
  expect(JSON.stringify(demo.logs.lines)).not.toContain("hunter2");
});

test("an embedded part that dies is started again, and said so", async () => {
  const demo = await withDemo({ POSTGRES_DSN: "" });
  const { database, model } = demo.embedded;
  expect((await demo.post("/v2/chat/completions", ask("Before?", { max_tokens: 3 }))).status).toBe(200);
  database?.postgres.signal("SIGKILL");
  process.kill(model?.process.pid ?? 0, "SIGKILL");
  await expect.poll(() => demo.logs.find("The embedded database runs again"), { timeout: 15_000 }).toBeDefined();
  await expect.poll(() => demo.logs.find("The embedded model runs again"), { timeout: 15_000 }).toBeDefined();
  expect(demo.logs.find("The embedded database ended by itself; it is started again")).toMatchObject({
    level: "error",
  });
  const after = ask("After?", { max_tokens: 3, workflow_id: "after" });
  await expect.poll(async () => (await demo.post("/v2/chat/completions", after)).status, { timeout: 10_000 }).toBe(200);
  const rows = async () => ((await (await demo.get("/v2/usage?workflow_id=after")).json()) as { count?: number }).count;
  await expect.poll(rows, { timeout: 10_000 }).toBeGreaterThan(0);
  expect((await demo.close()).clean).toBe(true);
});

test("rows on their way when the writer closes are counted once, by their outcome", async () => {
  const logs = captureLogs();
  let finish!: () => void;
  const slow = { exec: () => new Promise<number>((resolve) => (finish = () => resolve(0))) } as unknown as DbPool;
  const writer = new UsageWriter(slow, logs.logger, { capacity: 100 });
  for (let i = 0; i < 5; i++) writer.add(row({}));
  // The table first, then the rows.
  finish();
  await expect.poll(() => writer.getStats().queued).toBe(5);
  await new Promise((resolve) => setImmediate(resolve));
  // The first row went alone; the others came while it was on its way.
  expect(await writer.close(10)).toEqual(["4 rows were lost"]);
  expect(writer.getStats()).toMatchObject({ queued: 1, written: 0, lost: 4 });
  finish();
  await expect.poll(() => writer.getStats()).toMatchObject({ queued: 0, written: 1, lost: 4 });
});

test("what does not fit into the queue is counted as lost, and one row that the database refuses takes no other with it", async () => {
  const demo = await withDemo();
  const { dbPool, logger } = demo.server;
  if (dbPool === undefined) throw new Error("no database pool");
  const small = new UsageWriter(dbPool, logger, { capacity: 3 });
  for (let i = 0; i < 10; i++) small.add(row({}));
  await small.close(5_000);
  expect(small.getStats()).toMatchObject({ queued: 0, written: 3, lost: 7 });

  const writer = new UsageWriter(dbPool, logger);
  for (let i = 0; i < 5; i++) writer.add(row({ total_tokens: i === 2 ? 2 ** 40 : i }));
  await writer.settled(10_000);
  expect(writer.getStats()).toMatchObject({ queued: 0, written: 4, lost: 1 });
  await writer.close(100);
  const { rows } = await dbPool.query("select count(*)::int as n from vg_usage where workflow_id = 'direct'");
  expect(rows).toEqual([{ n: 7 }]);
});
