/** What code that was written for pg.Pool relies on, beyond its methods: each is something that pg-pool's own tests look at. */
import { createServer } from "node:net";
import { once } from "node:events";
import pg from "pg";
import { expect, test } from "vitest";
import { DbPool, type DbPoolOptions } from "../src/index.ts";
import { backendPid, until, usePostgres } from "./support.ts";

const postgres = usePostgres();

type Client = DbPoolOptions["Client"];
const clientsOf = (pool: DbPool): pg.Client[] => (pool as unknown as { _clients: pg.Client[] })._clients;

test("the class of the clients may stand beside the options", async () => {
  class Marked extends pg.Client {
    readonly mark = true;
  }
  const pool = new DbPool({ dsn: postgres.server.dsn }, Marked as Client);
  const client = await pool.connect();
  expect(client).toBeInstanceOf(Marked);
  client.release();
  await pool.end();
  expect(() => new DbPool({}, "pg" as unknown as Client)).toThrow("Client must be a function");
});

test("a client that can only connect and be listened to fails as it says, and leaves nothing behind", async () => {
  function Mock(): object {
    return {
      connect: (done: (error: Error) => void) => process.nextTick(done, new Error("bad news")),
      on: () => undefined,
      once: () => undefined,
    };
  }
  const pool = new DbPool({ Client: Mock as unknown as Client });
  await expect(pool.connect()).rejects.toThrow("bad news");
  expect([pool.totalCount, clientsOf(pool).length]).toEqual([0, 0]);
});

test("connect rejects with the driver's own error, query and acquire with ours around it", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  const pool = new DbPool({ host: "127.0.0.1", port });
  await expect(pool.connect()).rejects.toMatchObject({ code: "ECONNREFUSED" });
  const called = await new Promise((resolve) => {
    pool.connect((...args) => resolve(args));
  });
  expect(called).toMatchObject([{ code: "ECONNREFUSED" }, undefined, expect.any(Function)]);
  for (const refused of [pool.query("select 1"), pool.acquire(), pool.begin()]) {
    await expect(refused).rejects.toMatchObject({ code: "ERR_VG_DB_CONNECT", cause: { code: "ECONNREFUSED" } });
  }
  await pool.end();
});

test("what a hook throws is what connect rejects with, and the stack leads to the caller", async () => {
  const hook = new Error("not this one");
  const pool = postgres.pool({
    onConnect: () => {
      throw hook;
    },
  });
  await expect(pool.connect()).rejects.toBe(hook);
  const refused = postgres.pool({ onConnect: (client) => client.query("select nonsense") });
  const theCaller = async (): Promise<void> => {
    (await refused.connect()).release();
  };
  const error = await theCaller().catch((caught: unknown) => caught as Error);
  expect(error).toMatchObject({ code: "42703", stack: expect.stringContaining("theCaller") as string });
});

test("_clients holds the clients that connect or are open", async () => {
  const pool = postgres.pool();
  const query = pool.query("select 1");
  expect(clientsOf(pool)).toHaveLength(1);
  await query;
  const client = await pool.connect();
  expect(clientsOf(pool)).toEqual([client]);
  client.release(true);
  expect(clientsOf(pool)).toEqual([]);
});

test("a client that has had its uses is ending as soon as it is released, and log is told in pg-pool's words", async () => {
  const messages: unknown[] = [];
  const pool = postgres.pool({ maxUses: 1, log: (message: unknown) => void messages.push(message) });
  const client = await pool.connect();
  client.release();
  expect(client).toMatchObject({ _ending: true });
  expect(messages).toEqual(["new client connected", "remove expended client"]);
});

test("an error of a free client is told of at once, with the client, which has left the pool by then", async () => {
  const pool = postgres.pool();
  const client = await pool.connect();
  client.release();
  const told: unknown[] = [];
  pool.on("error", (error, from) => void told.push(error.message, from, (error as { client?: unknown }).client));
  client.emit("error", new Error("on purpose"));
  expect(told).toEqual(["on purpose", client, client]);
  expect([pool.totalCount, pool.idleCount]).toEqual([0, 0]);
  expect(await backendPid(pool)).toBeGreaterThan(0);
});

test("an error of a lent client is its holder's alone; the connection is closed at its release", async () => {
  const pool = postgres.pool();
  const client = await pool.connect();
  let told = 0;
  pool.on("error", () => told++);
  const pid = await backendPid(client);
  await postgres.watch("select pg_terminate_backend($1)", [pid]);
  await until("it is gone", () => pool.totalCount === 0);
  client.release();
  expect([told, pool.totalCount]).toEqual([0, 0]);
  const healthy = await pool.connect();
  healthy.emit("error", new Error("on purpose"));
  expect([told, pool.totalCount]).toEqual([0, 1]);
  healthy.release();
});

test("a second pool can be made from the options of the first, password and limits included", async () => {
  const first = postgres.pool({
    maxOpenConns: 3,
    minIdleConns: 1,
    connMaxLifetimeMs: 90_000,
    connMaxIdleTimeMs: 80_000,
    acquireTimeoutMs: 70_000,
    queryTimeoutMs: 60_000,
  });
  const second = new DbPool(first.options);
  expect(second.options).toEqual(first.options);
  expect(await second.queryRow("select 1 as n")).toEqual({ n: 1 });
  await second.end();
  expect(first.options).toMatchObject({ max: 3, min: 1, maxLifetimeSeconds: 90, query_timeout: 60_000 });
  expect(new DbPool(new DbPool({ host: "h", poolSize: 2 } as DbPoolOptions).options).options.max).toBe(2);
});

test("what pg-connection-string's parse() gives is taken as options", () => {
  const parsed = { user: "u", password: "p", host: "h", port: "5433", database: "d", sslmode: "disable", ssl: false };
  expect(new DbPool(parsed as unknown as DbPoolOptions).name).toBe("h:5433/d");
});

test("query, connect and end give promises of the class that the options name", async () => {
  class Own<T> extends Promise<T> {}
  const pool = postgres.pool({ Promise: Own });
  const connecting = pool.connect();
  const querying = pool.query("select 1 as n");
  for (const promise of [connecting, querying]) expect(promise).toBeInstanceOf(Own);
  (await connecting).release();
  expect((await querying).rows).toEqual([{ n: 1 }]);
  await expect(pool.query("select nonsense")).rejects.toMatchObject({ code: "42703" });
  expect((pool as unknown as { Promise: unknown }).Promise).toBe(Own);
  const ending = pool.end();
  expect(ending).toBeInstanceOf(Own);
  await ending;
});
