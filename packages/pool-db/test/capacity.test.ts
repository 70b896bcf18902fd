import { afterAll, beforeAll, expect, test } from "vitest";
import { startEmbeddedPostgres, type EmbeddedPostgres } from "@vg/internal/embedded-postgres";
import { AcquireTimeoutError, ConnectError, DbPool, type DbPoolOptions } from "../src/index.ts";
import { fakePool, settle } from "./fake-resources.ts";
import { faultServer, until } from "./support.ts";

test("while the far end has no room, waiters stay in the line until their own deadline, and dials go on", async () => {
  const { pool, time, factory, dialed } = fakePool({ maxOpen: 2, random: () => 1 });
  factory.full = true;
  const patient = pool.acquire({ timeoutMs: 5_000 });
  const hasty = pool.acquire({ timeoutMs: 500 }).catch((error: unknown) => error);
  for (let attempt = 0; attempt < 4; attempt++) {
    for (const dial of factory.dials.splice(0)) dial.reject(new Error("too many clients"));
    await settle();
    await time.advance(500);
  }
  const error = await hasty;
  expect(error).toBeInstanceOf(AcquireTimeoutError);
  expect((error as Error).message).toContain("last connect error: too many clients");
  expect((error as Error).cause).toMatchObject({ message: "too many clients" });
  expect(pool.waiting).toBe(1);
  factory.full = false;
  await dialed();
  (await patient).release();
});

test("any other refusal with nothing open still ends the wait at once", async () => {
  const { pool, factory } = fakePool();
  const waiting = pool.acquire().catch((error: unknown) => error);
  factory.dials.shift()?.reject(new Error("wrong password"));
  await settle();
  expect(await waiting).toBeInstanceOf(ConnectError);
});

const MAX_CONNECTIONS = 4;
let server: EmbeddedPostgres;
const pools: DbPool[] = [];

beforeAll(async () => {
  const settings = { max_connections: String(MAX_CONNECTIONS), superuser_reserved_connections: "0" };
  server = await startEmbeddedPostgres({ settings });
});

afterAll(async () => {
  await Promise.all(pools.map((pool) => pool.destroy()));
  await server.stop();
});

function small(options: DbPoolOptions = {}): DbPool {
  const pool = new DbPool({ dsn: server.dsn, ...options });
  pools.push(pool);
  return pool;
}

test("on a server that takes fewer connections than the pool may open, more callers than that are all answered", async () => {
  const pool = small({ maxOpenConns: 12, acquireTimeoutMs: 20_000 });
  const answers = await Promise.all(
    Array.from({ length: 60 }, (_, index) => pool.query("select $1::int as n, pg_sleep(0.005)", [index])),
  );
  expect(answers.map(({ rows }) => (rows[0] as { n: number }).n)).toEqual([...answers.keys()]);
  const stats = pool.getStats();
  expect(stats.open_connections).toBeLessThanOrEqual(MAX_CONNECTIONS);
  expect(stats.create_error_count).toBeGreaterThan(0);
  expect(stats).toMatchObject({ pending: 0, in_use: 0, timeout_count: 0 });
  await pool.close();
});

test("a pool that gets no connection at all waits until another pool gives one up", async () => {
  const greedy = small({ maxOpenConns: MAX_CONNECTIONS });
  const held = await Promise.all(Array.from({ length: MAX_CONNECTIONS }, () => greedy.acquire()));
  const poor = small({ maxOpenConns: 2 });
  const late = await poor.query("select 1", [], { timeoutMs: 400 }).catch((error: unknown) => error);
  expect(late).toBeInstanceOf(AcquireTimeoutError);
  expect((late as Error).message).toContain("last connect error: sorry, too many clients already");
  expect((late as Error).cause).toMatchObject({ code: "53300" });
  const waiting = poor.query("select 1 as n");
  await until("the poor pool dials", () => poor.getStats().create_error_count > 2);
  held[0]?.discard();
  expect((await waiting).rows).toEqual([{ n: 1 }]);
  for (const connection of held.slice(1)) connection.release();
});

test("a server that is starting up is waited for", async () => {
  let starting = true;
  const fatal = Buffer.from("SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0");
  const header = Buffer.from([0x45, 0, 0, 0, fatal.length + 4]);
  const fault = await faultServer((socket) => {
    if (starting) socket.end(Buffer.concat([header, fatal]));
    else socket.destroy();
  });
  const pool = new DbPool({ host: "127.0.0.1", port: fault.port, user: "app", database: "app" });
  pools.push(pool);
  const waiting = pool.query("select 1").catch((error: unknown) => error);
  await until("several dials are refused", () => pool.getStats().create_error_count > 2);
  expect(pool.getStats().pending).toBe(1);
  starting = false;
  expect(await waiting).toBeInstanceOf(ConnectError);
  await fault.close();
});
