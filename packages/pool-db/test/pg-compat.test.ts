import { AsyncLocalStorage } from "node:async_hooks";
import { inspect } from "node:util";
import pg from "pg";
import { expect, test } from "vitest";
import { DbPool, PoolConfigError } from "../src/index.ts";
import { backendPid, until, usePostgres } from "./support.ts";

const postgres = usePostgres();

test("it is a pg.Pool for whoever asks, and its class name says Pool", () => {
  const pool = postgres.pool();
  expect(pool).toBeInstanceOf(pg.Pool);
  expect(Object.getPrototypeOf(pool).constructor.name).toContain("Pool");
  const asPool: pg.Pool = pool;
  expect(asPool.totalCount).toBe(0);
});

test("pg's option names mean what they mean there, and options can be read back", async () => {
  const { host, port, user, password } = postgres.server;
  const pool = postgres.pool({
    dsn: undefined,
    host,
    port,
    user,
    password,
    database: "postgres",
    max: 3,
    min: 1,
    idleTimeoutMillis: 0,
    connectionTimeoutMillis: 0,
    maxLifetimeSeconds: 60,
    application_name: "compat",
  });
  expect(pool.options).toMatchObject({
    max: 3,
    min: 1,
    idleTimeoutMillis: 0,
    maxLifetimeSeconds: 60,
    host,
    port,
    user,
  });
  expect(pool.options.password).toBe(password);
  expect(pool.getStats().max_open_connections).toBe(3);
  expect(await pool.queryRow("show application_name")).toEqual({ application_name: "compat" });
});

test("neither inspection nor JSON shows the password", () => {
  const pool = postgres.pool();
  const { password } = postgres.server;
  for (const shown of [
    inspect(pool, { depth: 9 }),
    inspect(pool.options),
    JSON.stringify(pool.options),
    JSON.stringify(pool),
  ]) {
    expect(shown).not.toContain(password);
  }
  expect(pool.options.connectionString).toContain(password);
});

test("query takes a config object, values beside it, array rows, and names", async () => {
  const pool = postgres.pool();
  expect((await pool.query({ text: "select $1::int as n", values: [1] })).rows).toEqual([{ n: 1 }]);
  expect((await pool.query({ text: "select $1::int as n" }, [2])).rows).toEqual([{ n: 2 }]);
  expect((await pool.query({ text: "select 1 as a, 2 as b", rowMode: "array" })).rows).toEqual([[1, 2]]);
  const named = { name: "by-name", text: "select $1::int as n", values: [3] };
  expect((await pool.query(named)).rows).toEqual([{ n: 3 }]);
  expect((await pool.query(named)).rows).toEqual([{ n: 3 }]);
  expect(Object.keys(named)).toEqual(["name", "text", "values"]);
});

test("query takes a template-tag object whose text is a getter", async () => {
  class Statement {
    readonly values = [4];
    readonly strings = ["select ", "::int as n"];
    get text(): string {
      return this.strings.join("$1");
    }
  }
  expect((await postgres.pool().query(new Statement())).rows).toEqual([{ n: 4 }]);
});

test("the callback form of query answers by callback, later, in the caller's async context", async () => {
  const pool = postgres.pool();
  const context = new AsyncLocalStorage<string>();
  const answers: unknown[] = [];
  await new Promise<void>((resolve) => {
    context.run("request 1", () => {
      const returned = pool.query("select $1::int as n", [1], (error, result) => {
        answers.push(error, result.rows, context.getStore());
        resolve();
      }) as unknown;
      expect(returned).toBeUndefined();
      expect(answers).toEqual([]);
    });
  });
  expect(answers).toEqual([undefined, [{ n: 1 }], "request 1"]);
  const error = await new Promise((resolve) => {
    pool.query("select nonsense", (caught) => resolve(caught));
  });
  expect(error).toMatchObject({ code: "42703" });
});

test("a query that is none is refused, by promise and by callback", async () => {
  const pool = postgres.pool();
  const query = pool.query.bind(pool) as (...args: unknown[]) => Promise<unknown>;
  await expect(query(undefined)).rejects.toThrow(PoolConfigError);
  const error = await new Promise((resolve) => {
    void query((caught: unknown) => resolve(caught));
  });
  expect(error).toBeInstanceOf(PoolConfigError);
  expect(pool.getStats().acquire_count).toBe(0);
});

test("connect gives pg's own client by promise and by callback; a truthy release destroys it", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const client = await pool.connect();
  expect(client).toBeInstanceOf(pg.Client);
  const pid = await backendPid(client);
  client.release();
  expect(() => client.release()).toThrow("already been released");
  const again = await new Promise<number>((resolve, reject) => {
    pool.connect((error, borrowed, done) => {
      if (error || borrowed === undefined) return reject(error);
      return void backendPid(borrowed).then((value) => {
        done(true);
        resolve(value);
      }, reject);
    });
  });
  expect(again).toBe(pid);
  expect(pool.totalCount).toBe(0);
  expect(await backendPid(pool)).not.toBe(pid);
});

test("a query builder's way: connect, begin, query with parameters, commit, release(false)", async () => {
  const pool = postgres.pool().on("error", () => undefined);
  const client = await pool.connect();
  await client.query("begin");
  await client.query("create table built (n int)");
  const inserted = await client.query("insert into built values ($1), ($2)", [1, 2]);
  expect(inserted).toMatchObject({ command: "INSERT", rowCount: 2 });
  await client.query("commit");
  client.release(false as unknown as boolean);
  expect(await pool.queryRow("select count(*)::int as n from built")).toEqual({ n: 2 });
  expect(pool.getStats().create_count).toBe(1);
});

test("the same physical connection is the same client object", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const first = await pool.connect();
  first.release();
  const second = await pool.connect();
  expect(second).toBe(first);
  second.release();
});

test("a pg.Query is submitted on a connection that comes back when the server is done", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const rows: unknown[] = [];
  const query = new pg.Query("select generate_series(1, 3) as n");
  expect(pool.query(query)).toBe(query);
  query.on("row", (row: unknown) => rows.push(row));
  await new Promise<void>((resolve, reject) => {
    query.on("end", () => resolve());
    query.on("error", reject);
  });
  expect(rows).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
  expect(await pool.queryRow("select 1 as n")).toEqual({ n: 1 });
  const failing = pool.query(new pg.Query("select nonsense"));
  const error = await new Promise((resolve) => {
    failing.on("error", resolve);
  });
  expect(error).toMatchObject({ code: "42703" });
  await until("the connection is back", () => pool.getStats().in_use === 0);
  expect(pool.getStats()).toMatchObject({ open_connections: 1, dirty_closed: 0 });
  await pool.end();
  const late = pool.query(new pg.Query("select 1"));
  expect(await new Promise((resolve) => void late.on("error", resolve))).toMatchObject({
    code: "ERR_VG_DB_POOL_CLOSED",
  });
});

test("connect, acquire, release and remove are announced with the client, in that order", async () => {
  const pool = postgres.pool();
  const events: string[] = [];
  for (const event of ["connect", "acquire", "remove"] as const) pool.on(event, () => void events.push(event));
  pool.on("release", (error: Error | undefined) => void events.push(`release ${String(error)}`));
  await pool.query("select 1");
  await pool.query("select 1");
  (await pool.connect()).release(true);
  expect(events).toEqual([
    "connect",
    "acquire",
    "release undefined",
    "acquire",
    "release undefined",
    "acquire",
    "release true",
    "remove",
  ]);
});

test("a listener that throws costs no connection", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const uncaught: unknown[] = [];
  const listeners = process.listeners("uncaughtException");
  process.removeAllListeners("uncaughtException");
  process.on("uncaughtException", (error) => void uncaught.push(error.message));
  pool.once("acquire", () => {
    throw new Error("a listener's bug");
  });
  expect(await pool.queryRow("select 1 as n")).toEqual({ n: 1 });
  await until("the bug is reported", () => uncaught.length === 1);
  process.removeAllListeners("uncaughtException");
  for (const listener of listeners) process.on("uncaughtException", listener);
  expect(uncaught).toEqual(["a listener's bug"]);
  expect(pool.getStats().in_use).toBe(0);
});

test("session settings made in the connect event hold for the first query", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  pool.on("connect", (client) => void client.query("set application_name to 'from the event'"));
  expect(await pool.queryRow("show application_name")).toEqual({ application_name: "from the event" });
});

test("what a connect listener sends costs no connection, even if the borrower releases at once", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  pool.on("connect", (client) => {
    void (async () => {
      await client.query("set application_name to 'first'");
      await client.query("set application_name to 'second'");
    })();
  });
  (await pool.connect()).release();
  expect(await pool.queryRow("show application_name")).toEqual({ application_name: "second" });
  expect(pool.getStats()).toMatchObject({ create_count: 1, dirty_closed: 0, broken_closed: 0 });
});

test("a query that the borrower did not await may end before anybody else gets the connection", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  await pool.exec("create table not_awaited (n int)");
  const client = await pool.connect();
  const forgotten = client.query("insert into not_awaited values (1)");
  client.release();
  expect(await pool.queryRow("select n from not_awaited")).toEqual({ n: 1 });
  await forgotten;
  expect(pool.getStats()).toMatchObject({ create_count: 1, dirty_closed: 0, in_use: 0 });
});

test("a parameter that cannot be sent costs a facade client's connection nothing", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const client = await pool.connect();
  const hostile = { toPostgres: () => void JSON.parse("{") };
  await expect(client.query("select $1::text", [hostile])).rejects.toThrow(SyntaxError);
  client.release();
  expect(await pool.queryRow("select 1 as n")).toEqual({ n: 1 });
  expect(pool.getStats()).toMatchObject({ create_count: 1, dirty_closed: 0 });
});

test("onConnect runs before anybody gets the connection, and its failure closes it", async () => {
  const pool = postgres.pool({
    onConnect: async (client) => {
      await client.query("set application_name to 'from the hook'");
    },
  });
  expect(await pool.queryRow("show application_name")).toEqual({ application_name: "from the hook" });
  const failing = postgres.pool({ onConnect: () => Promise.reject(new Error("not this one")) });
  await expect(failing.query("select 1")).rejects.toMatchObject({
    code: "ERR_VG_DB_CONNECT",
    cause: { message: "not this one" },
  });
  expect(failing.totalCount).toBe(0);
});

test("verify refuses a connection", async () => {
  const pool = postgres.pool({ verify: (_client, done) => done(new Error("a standby")) });
  await expect(pool.query("select 1")).rejects.toThrow("a standby");
});

test("counts are pg.Pool's, and end takes a callback", async () => {
  const pool = postgres.pool({ max: 1 });
  const client = await pool.connect();
  const waiting = pool.query("select 1");
  expect([pool.totalCount, pool.idleCount, pool.waitingCount, pool.expiredCount]).toEqual([1, 0, 1, 0]);
  client.release();
  await waiting;
  expect([pool.totalCount, pool.idleCount, pool.waitingCount]).toEqual([1, 1, 0]);
  expect([pool.ending, pool.ended]).toEqual([false, false]);
  await new Promise<void>((resolve) => {
    pool.end(resolve);
  });
  expect([pool.ending, pool.ended]).toEqual([true, true]);
});

test("with allowExitOnIdle, a free connection does not keep the process alive", async () => {
  const pool = postgres.pool({ allowExitOnIdle: true, maxOpenConns: 1 });
  const client = (await pool.connect()) as unknown as {
    connection: { stream: { hasRef?(): boolean; _handle: { hasRef(): boolean } } };
    release(): void;
  };
  expect(client.connection.stream._handle.hasRef()).toBe(true);
  client.release();
  expect(client.connection.stream._handle.hasRef()).toBe(false);
  expect(new DbPool({ host: "localhost" }).options.allowExitOnIdle).toBe(false);
});

test("a second release in the same breath is refused, though the first one served a waiter with that very client", async () => {
  const pool = postgres.pool({ max: 1 });
  const client = await pool.connect();
  const waiting = pool.connect();
  client.release();
  expect(() => client.release()).toThrow(/already been released/);
  const next = await waiting;
  expect(next).toBe(client);
  expect(pool.getStats()).toMatchObject({ in_use: 1 });
  next.release();
  await pool.end();
});
