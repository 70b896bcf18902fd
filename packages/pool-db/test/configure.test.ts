import diagnosticsChannel from "node:diagnostics_channel";
import { expect, test } from "vitest";
import { PoolConfigError, type DbPool, type DbPoolChanges, type Logger } from "../src/index.ts";
import { backendPid, until, usePostgres } from "./support.ts";

const postgres = usePostgres();

function refusal(pool: DbPool, changes: unknown): string {
  const before = pool.getStats();
  try {
    pool.configure(changes as DbPoolChanges);
  } catch (error) {
    expect(error).toBeInstanceOf(PoolConfigError);
    expect(pool.getStats()).toEqual(before);
    return (error as Error).message;
  }
  throw new Error("nothing was refused");
}

/** Who is connected, in the server's own view. */
async function sessions(application: string): Promise<number> {
  const { rows } = await postgres.watch("select count(*)::int as n from pg_stat_activity where application_name = $1", [
    application,
  ]);
  return (rows[0] as { n: number }).n;
}

test("limits change while the pool runs, under either name, and pg's own view of them with it", async () => {
  const pool = postgres.pool({ maxOpenConns: 1, application_name: "configured" });
  const held = await pool.acquire();
  const waiting = pool.query("select 1 as n");
  pool.configure({ maxOpenConns: 3, acquireTimeoutMs: 1_500, idleTimeoutMillis: 2_000 });
  expect((await waiting).rows).toEqual([{ n: 1 }]);
  expect(pool.getStats().max_open_connections).toBe(3);
  expect(pool.options).toMatchObject({ max: 3, connectionTimeoutMillis: 1_500, idleTimeoutMillis: 2_000 });
  pool.configure({ max: 1 });
  expect(pool.getStats()).toMatchObject({ max_open_connections: 1, open_connections: 1, max_open_closed: 1 });
  held.release();
  await pool.close();
  await until("the sessions have ended", async () => (await sessions("configured")) === 0);
});

test("changes are checked as at construction, alone and beside what is in force, before anything changes", () => {
  const pool = postgres.pool({ name: "orders", maxOpenConns: 10, maxIdleConns: 5, minIdleConns: 2 });
  expect(refusal(pool, { maxOpenConns: 0 })).toContain("maxOpenConns must be a whole number from 1 to 100000, got 0");
  expect(refusal(pool, { maxIdleConns: 11 })).toContain("maxIdleConns must be a whole number from 2 to 10, got 11");
  expect(refusal(pool, { maxOpenConns: 4 })).toBe(
    "Pool orders: configure(): maxIdleConns, which is 5 now, would be above maxOpenConns, 4. Give maxIdleConns as well.",
  );
  expect(refusal(pool, { minIdleConns: 6 })).toContain("maxIdleConns, which is 5 now, would be below minIdleConns, 6");
  expect(refusal(pool, { maxOpenConns: 1, maxIdleConns: 1 })).toContain("minIdleConns, which is 2 now, would be above");
  expect(refusal(pool, { acquireTimeoutMs: -1 })).toContain("acquireTimeoutMs must be a number above 0");
  expect(refusal(pool, { max: 3, maxOpenConns: 3 })).toContain("two names of one option");
  expect(refusal(pool, { maxOpenConns: 3, dsn: "postgres://elsewhere/db" })).toContain(
    'configure(): "dsn" is none of the options that may change while a pool runs: maxOpenConns, maxIdleConns,',
  );
  expect(refusal(pool, { maxOpenConn: 3 })).toContain('"maxOpenConn" is none of the options that may change');
  expect(refusal(pool, null)).toContain("configure(): options must be an object");
  pool.configure({ maxOpenConns: 4, maxIdleConns: 4 });
});

test("a maximum of free connections that was never given follows the others", () => {
  const pool = postgres.pool({ maxOpenConns: 20 });
  pool.configure({ maxOpenConns: 3 });
  pool.configure({ maxOpenConns: 20, minIdleConns: 8 });
  expect(refusal(pool, { maxIdleConns: 7 })).toContain("from 8 to 20");
});

test("warm() opens connections before they are needed, and says how many are open", async () => {
  const pool = postgres.pool({ maxIdleConns: 3, application_name: "warm" });
  expect(await pool.warm()).toBe(3);
  expect(await sessions("warm")).toBe(3);
  expect(await pool.warm(4, { timeoutMs: 5_000 })).toBe(4);
  await expect(pool.warm(26)).rejects.toThrow("warm() takes a whole number from 0 to maxOpenConns (25), got 26");
  await expect(pool.warm(1.5)).rejects.toThrow(PoolConfigError);
  expect(pool.getStats()).toMatchObject({ acquire_count: 0, create_count: 4 });
  await pool.close();
});

test("after reset() every query runs in a new session, and a lent connection is closed when it is released", async () => {
  const pool = postgres.pool();
  const held = await pool.acquire();
  const heldPid = await backendPid(held);
  const freePid = await backendPid(pool);
  pool.reset();
  const pid = await backendPid(pool);
  expect([heldPid, freePid]).not.toContain(pid);
  expect(await backendPid(held)).toBe(heldPid);
  held.release();
  expect(pool.getStats()).toMatchObject({ reset_closed: 2, open_connections: 1, broken_closed: 0 });
  await pool.close();
});

test("health({ deep: true }) says what server answered", async () => {
  const pool = postgres.pool();
  expect(await pool.health({ deep: true })).toEqual({
    ok: true,
    latency_ms: expect.any(Number),
    server_version: expect.stringMatching(/^\d+/),
    in_recovery: false,
    max_connections: 100,
  });
  expect(Object.keys(await pool.health())).toEqual(["ok", "latency_ms"]);
  await pool.close();
});

test("histograms() counts waits, uses and dials by how long they took, and adds up with the statistics", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  await Promise.all([1, 2, 3].map((n) => pool.query("select $1::int, pg_sleep(0.02)", [n])));
  const { wait, use, create } = pool.histograms();
  const stats = pool.getStats();
  expect(wait).toMatchObject({ count: stats.wait_count, sum_ms: stats.wait_duration_ms });
  expect(use).toMatchObject({ count: 3, sum_ms: stats.use_duration_ms });
  expect(create).toMatchObject({ count: 1, sum_ms: stats.create_duration_ms });
  expect(use.buckets.find(({ le_ms }) => le_ms === 10)?.count).toBe(0);
  expect(use.buckets.at(-1)).toEqual({ le_ms: 60_000, count: 3 });
  expect(Object.isFrozen(use.buckets)).toBe(true);
  await pool.close();
});

test("a leak is told of with the caller's own frames, and so is its return; LISTEN may last as long as it likes", async () => {
  const lines: { level: string; message: string; fields: Record<string, unknown> }[] = [];
  const line = (level: string) => (fields: object, message: string) =>
    void lines.push({ level, message, fields: { ...fields } });
  const logger: Logger = { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") };
  const pool = postgres.pool({ name: "leaky", leakDetectionThresholdMs: 20, maxOpenConns: 1, logger });
  const listening = await pool.acquire();
  await listening.query("listen news");
  await until("the leak is reported", () => lines.some(({ level }) => level === "warn"));
  expect(lines.find(({ level }) => level === "warn")).toMatchObject({
    message: "a connection has been held for longer than leakDetectionThresholdMs",
    fields: { pool: "leaky", held_ms: expect.any(Number), process_id: await backendPid(listening) },
  });
  const where = String(lines.find(({ level }) => level === "warn")?.fields["acquired_at"]);
  expect(where.split("\n")[0]).toContain("configure.test.ts");
  const late = await pool.query("select 1", [], { timeoutMs: 30 }).catch((error: unknown) => error);
  expect((late as Error).message).toMatch(/the oldest lease is \d+ ms old, acquired at \S+configure\.test\.ts:\d+:\d+/);
  const heard = new Promise((resolve) => listening.client.once("notification", resolve));
  await listening.query("notify news");
  await heard;
  listening.release();
  expect(lines.at(-1)).toMatchObject({ level: "info", fields: { held_ms: expect.any(Number) } });
  expect(pool.getStats()).toMatchObject({ leak_count: 1, idle: 1 });
  await pool.close();
});

test("what happens to connections is published to whoever has subscribed", async () => {
  const heard: [string, Record<string, unknown>][] = [];
  const channels = ["acquire", "release", "connect", "remove", "timeout", "leak"].map((subject) => {
    const channel = diagnosticsChannel.channel(`vg:pool-db:${subject}`);
    const listener = (message: unknown): void => void heard.push([subject, message as Record<string, unknown>]);
    channel.subscribe(listener);
    return () => channel.unsubscribe(listener);
  });
  const pool = postgres.pool({ name: "published", maxOpenConns: 1 });
  const held = await pool.acquire();
  await pool.query("select 1", [], { timeoutMs: 20 }).catch(() => undefined);
  const processId = await backendPid(held);
  held.discard();
  await pool.close();
  for (const unsubscribe of channels) unsubscribe();
  expect(heard).toEqual([
    ["connect", { pool: "published", processId, durationMs: expect.any(Number), error: undefined }],
    ["acquire", { pool: "published", processId, waitedMs: expect.any(Number) }],
    ["timeout", { pool: "published", waitedMs: expect.any(Number) }],
    ["release", { pool: "published", processId, heldMs: expect.any(Number), discard: true }],
    ["remove", { pool: "published", processId, reason: "broken" }],
  ]);
});
