import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { expect, test } from "vitest";
import { backendPid, usePostgres } from "./support.ts";
import { LeaseReleasedError, QueryTimeoutError, openDbPool, type DbQueryMessage } from "../src/index.ts";

const postgres = usePostgres();

test("the guide's example: open, query with values, begin, stats", async () => {
  const { dsn } = postgres.server;
  const pool = await openDbPool({
    dsn,
    maxOpenConns: 25,
    maxIdleConns: 5,
    connMaxLifetimeMs: 30 * 60_000,
    connMaxIdleTimeMs: 5 * 60_000,
  });
  await pool.exec("create table users (id int primary key, active boolean)");
  expect(await pool.exec("insert into users values (1, true), (2, false), (3, true)")).toBe(3);
  const { rows } = await pool.query("SELECT id FROM users WHERE active = $1 order by id", [true]);
  expect(rows).toEqual([{ id: 1 }, { id: 3 }]);
  const tx = await pool.begin();
  await tx.rollback();
  expect(pool.getStats()).toMatchObject({
    max_open_connections: 25,
    open_connections: 1,
    in_use: 0,
    idle: 1,
    wait_count: 1,
    acquire_count: 5,
    release_count: 5,
    timeout_count: 0,
    create_count: 1,
  });
  expect(Object.isFrozen(pool.getStats())).toBe(true);
  expect(await pool.close()).toMatchObject({ drained: true, killed_connections: 0, rejected_waiters: 0 });
});

test("queryRow gives the first row or undefined, exec the number of rows", async () => {
  const pool = postgres.pool();
  expect(await pool.queryRow("select $1::int as n", [7])).toEqual({ n: 7 });
  expect(await pool.queryRow("select 1 where false")).toBeUndefined();
  expect(await pool.exec("select generate_series(1, 4)")).toBe(4);
  expect(await pool.exec("create temporary table t (n int)")).toBe(0);
});

test("a connection survives an ordinary SQL error", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  await pool.query("create table once (id int primary key)");
  const pid = await backendPid(pool);
  await pool.query("insert into once values (1)");
  for (let i = 0; i < 20; i++) {
    await expect(pool.query("insert into once values (1)")).rejects.toMatchObject({ code: "23505" });
  }
  await expect(pool.query("select nonsense from nowhere")).rejects.toMatchObject({ code: "42P01" });
  expect(await backendPid(pool)).toBe(pid);
  expect(pool.getStats()).toMatchObject({ create_count: 1, broken_closed: 0, dirty_closed: 0 });
});

test("with discardOnQueryError a connection is destroyed by any SQL error, as pg-pool does", async () => {
  const pool = postgres.pool({ maxOpenConns: 1, discardOnQueryError: true });
  const pid = await backendPid(pool);
  await expect(pool.query("select nonsense")).rejects.toMatchObject({ code: "42703" });
  expect(pool.totalCount).toBe(0);
  expect(await backendPid(pool)).not.toBe(pid);
});

test("the stack of a failed query leads to its caller, whatever it was called on", async () => {
  const pool = postgres.pool();
  await using conn = await pool.acquire();
  const runs: ((text: string) => Promise<unknown>)[] = [
    (text) => pool.query(text),
    (text) => conn.query(text),
    (text) => pool.transaction((tx) => tx.exec(text)),
  ];
  for (const run of runs) {
    const theCaller = async (): Promise<void> => {
      await run("select nonsense");
    };
    const error = await theCaller().catch((caught: unknown) => caught as Error);
    expect((error as Error).stack).toContain("theCaller");
  }
});

test("a statement of several parts gives several results, as with pg", async () => {
  const pool = postgres.pool();
  const results = (await pool.query("select 1 as a; select 2 as b")) as unknown as { rows: unknown[] }[];
  expect(results.map(({ rows }) => rows)).toEqual([[{ a: 1 }], [{ b: 2 }]]);
  // The last that has rows to give, and the sum.
  expect(await pool.queryRow("select 1 as a; select 2 as b; create temporary table several (n int)")).toEqual({ b: 2 });
  expect(await pool.queryRow("drop table if exists nothing_1; drop table if exists nothing_2")).toBeUndefined();
  expect(await pool.exec("create table sums (n int); insert into sums values (1), (2); delete from sums")).toBe(4);
});

test("a value that cannot be serialised rejects and leaves the pool usable", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const circular: Record<string, unknown> = {};
  circular["self"] = circular;
  const pid = await backendPid(pool);
  await expect(pool.query("select $1::jsonb", [circular])).rejects.toThrow(/circular/i);
  const statement = { name: "once", text: "select $1::jsonb as n" };
  await expect(pool.query(statement, [circular])).rejects.toThrow(/circular/i);
  expect((await pool.query(statement, [1])).rows).toEqual([{ n: 1 }]);
  const tx = await pool.begin();
  await expect(tx.query("select $1::jsonb", [circular])).rejects.toThrow(/circular/i);
  expect(await tx.queryRow("select pg_backend_pid() as pid")).toEqual({ pid });
  await tx.commit();
  expect(pool.getStats()).toMatchObject({ in_use: 0, create_count: 1 });
});

test("a lease is one session, runs overlapping calls in order, and is dead after its release", async () => {
  const pool = postgres.pool();
  const conn = await pool.acquire();
  await conn.exec("create temporary table mine (n int)");
  const [, inserted, row] = await Promise.all([
    conn.query("select pg_sleep(0.01)"),
    conn.exec("insert into mine select generate_series(1, 3)"),
    conn.queryRow("select count(*)::int as n from mine"),
  ]);
  expect(inserted).toBe(3);
  expect(row).toEqual({ n: 3 });
  conn.release();
  expect(() => conn.release()).toThrow(LeaseReleasedError);
  await expect(conn.query("select 1")).rejects.toMatchObject({ code: "ERR_VG_DB_LEASE_RELEASED" });
  await conn[Symbol.asyncDispose]();
  expect(pool.getStats()).toMatchObject({ acquire_count: 1, release_count: 1, in_use: 0 });
});

test("discard closes the connection", async () => {
  const pool = postgres.pool();
  const conn = await pool.acquire();
  conn.discard();
  expect(pool.getStats()).toMatchObject({ open_connections: 0, broken_closed: 1 });
});

test("health reports latency when the server answers", async () => {
  const pool = postgres.pool();
  const health = await pool.health();
  expect(health.ok).toBe(true);
  expect(health.latency_ms).toBeGreaterThan(0);
  expect(health).not.toHaveProperty("error");
});

test("every way of using the pool counts as an acquire and a release", async () => {
  const pool = postgres.pool();
  await pool.query("select 1");
  await pool.queryRow("select 1");
  await pool.exec("select 1");
  await pool.health();
  (await pool.acquire()).release();
  (await pool.connect()).release();
  await (await pool.begin()).commit();
  await pool.transaction(async (tx) => tx.query("select 1"));
  expect(pool.getStats()).toMatchObject({ acquire_count: 8, release_count: 8, in_use: 0, active_conns: 0 });
});

test("a query_timeout in a config object holds on every path, and a timeoutMs beside it wins", async () => {
  const pool = postgres.pool();
  const slow = { text: "select pg_sleep(600)", query_timeout: 30 };
  // The limit is for the query: the dial before it has time.
  const ready = (): Promise<number> => pool.exec("select 1", [], { timeoutMs: 10_000 });
  await ready();
  await expect(pool.exec(slow)).rejects.toThrow(QueryTimeoutError);
  await ready();
  await expect(pool.queryRow(slow)).rejects.toThrow("within 30 ms");
  const conn = await pool.acquire();
  await expect(conn.query(slow)).rejects.toThrow("within 30 ms");
  conn.release();
  const tx = await pool.begin();
  await expect(tx.query(slow, [], { timeoutMs: 20 })).rejects.toThrow("within 20 ms");
  await tx.rollback();
  expect(await pool.queryRow({ text: "select 1 as n", query_timeout: 0 })).toEqual({ n: 1 });
  expect(pool.getStats().in_use).toBe(0);
});

test("each query of the pool is published to vg:pool-db:query while somebody has subscribed", async () => {
  const pool = postgres.pool({ name: "orders", maxOpenConns: 1 });
  const heard: DbQueryMessage[] = [];
  const hear = (message: unknown): void => void heard.push(message as DbQueryMessage);
  subscribe("vg:pool-db:query", hear);
  try {
    await pool.query("select generate_series(1, 3)");
    await pool.query("select nonsense").catch(() => undefined);
    await pool.batch(["select 1", "select 2"]);
  } finally {
    unsubscribe("vg:pool-db:query", hear);
  }
  await pool.query("select 1");
  expect(heard).toMatchObject([
    { pool: "orders", rows: 3, error: undefined, pipelined: false },
    { pool: "orders", rows: 0, error: { code: "42703" }, pipelined: false },
    { pool: "orders", rows: 2, error: undefined, pipelined: false },
  ]);
  for (const { durationMs } of heard) expect(durationMs).toBeGreaterThan(0);
});
