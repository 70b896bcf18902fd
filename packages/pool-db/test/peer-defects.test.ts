/**
 * What other PostgreSQL pools and clients were seen to get wrong, each as what happens here. See also faults-*.test.ts,
 * where the network or the server is to blame.
 */
import { once } from "node:events";
import pg from "pg";
import { describe, expect, test } from "vitest";
import { PoolClosedError, QueryTimeoutError, type DbPool } from "../src/index.ts";
import { outcome, useFaults } from "./fault-support.ts";
import { backendPid, until } from "./support.ts";

const faults = useFaults();

/** Throws when it is serialised. */
const unsendable = {
  toPostgres() {
    throw new Error("this value cannot be sent");
  },
};

test("a pool that nobody uses has opened nothing and set no timer", () => {
  const before = process.getActiveResourcesInfo().toSorted();
  faults.pool();
  expect(process.getActiveResourcesInfo().toSorted()).toEqual(before);
});

test("a unique violation keeps its connection", async () => {
  const pool = faults.pool({ maxOpenConns: 1 });
  await pool.exec("create table taken (n int primary key)");
  await pool.exec("insert into taken values (1)");
  const pid = await backendPid(pool);
  for (let n = 0; n < 5; n++) {
    expect(await outcome(pool.query("insert into taken values ($1)", [1]))).toMatchObject({ code: "23505" });
  }
  expect(await backendPid(pool)).toBe(pid);
  expect(pool.getStats().create_count).toBe(1);
});

test.each([
  ["open", []],
  ["failed", ["select nonsense"]],
  ["deep", ["savepoint a", "savepoint b"]],
] as const)(
  "a client released inside a transaction (%s) is rolled back, and the next borrower is outside",
  async (_state, more) => {
    const pool = faults.pool({ maxOpenConns: 1 });
    await pool.exec("create table if not exists left_behind (n int)");
    const client = await pool.connect();
    await client.query("begin");
    await client.query("insert into left_behind values (1)");
    for (const text of more) await outcome(client.query(text));
    client.release();
    const next = await pool.connect();
    expect((next as pg.PoolClient & { getTransactionStatus(): string }).getTransactionStatus()).toBe("I");
    expect((await next.query("select count(*)::int as n from left_behind")).rows).toEqual([{ n: 0 }]);
    next.release();
    expect(pool.getStats().create_count).toBe(1);
  },
);

test("a BEGIN that was sent through pool.query leaves no transaction for the next caller", async () => {
  const pool = faults.pool({ maxOpenConns: 1 });
  await pool.exec("create table begun (n int)");
  for (let n = 1; n <= 3; n++) {
    await pool.query("begin");
    await pool.exec("insert into begun values ($1)", [n]);
    expect((await faults.postgres.watch("select count(*)::int as n from begun")).rows).toEqual([{ n }]);
  }
});

test("end() answers queued waiters: with a connection as long as there is one", async () => {
  const pool = faults.pool({ maxOpenConns: 1 });
  const client = await pool.connect();
  const waiting = [pool.queryRow("select 1 as n"), pool.connect().then((next) => next.release())];
  const ended = pool.end();
  client.release();
  expect(await Promise.all(waiting)).toEqual([{ n: 1 }, undefined]);
  await ended;
});

test("end() answers queued waiters: with an error when nothing comes back", async () => {
  const pool = faults.pool({ maxOpenConns: 1 });
  await pool.connect();
  const waiting = [outcome(pool.query("select 1")), outcome(pool.connect())];
  await pool.close({ deadlineMs: 20 });
  for (const error of await Promise.all(waiting)) expect(error).toBeInstanceOf(PoolClosedError);
});

test("a client whose goodbye is never answered does not block the next waiter", async () => {
  const proxy = await faults.proxy();
  proxy.onLink = (link) => {
    link.neverCloses = true;
  };
  const pool = faults.pool({ through: proxy, maxOpenConns: 1, maxUses: 1 });
  // Each of them ends its connection's life, and needs the only place.
  for (let n = 0; n < 3; n++) {
    const client = await pool.connect();
    const next = pool.queryRow("select $1::int as n", [n], { timeoutMs: 10_000 });
    client.release();
    expect(await next).toEqual({ n });
  }
  proxy.heal();
});

test("a client whose end() never calls back does not block the next waiter", async () => {
  class Immortal extends pg.Client {
    override end(): never {
      return new Promise<void>(() => undefined) as never;
    }
  }
  const pool = faults.pool({ Client: Immortal, maxOpenConns: 1, maxUses: 1 });
  const client = await pool.connect();
  const next = pool.queryRow("select 1 as n", [], { timeoutMs: 10_000 });
  client.release();
  expect(await next).toEqual({ n: 1 });
});

test("a waiter gets a connection that is released while its own dial hangs", async () => {
  const proxy = await faults.proxy();
  const pool = faults.pool({ through: proxy, maxOpenConns: 2, connectTimeoutMs: 1_000 });
  const client = await pool.connect();
  proxy.onLink = (link) => link.blackHole();
  const waiting = pool.queryRow("select 1 as n");
  await until("its dial hangs", () => proxy.accepted === 2);
  client.release();
  expect(await waiting).toEqual({ n: 1 });
  expect(pool.getStats().connecting).toBe(1);
  proxy.heal();
});

test("a parameter that cannot be serialised does not poison its prepared statement", async () => {
  const pool = faults.pool({ maxOpenConns: 1 });
  const named = (value: unknown): Promise<pg.QueryResult> =>
    pool.query({ name: "by-value", text: "select $1::text as v", values: [value] });
  expect(await outcome(named(unsendable))).toMatchObject({ cause: { message: "this value cannot be sent" } });
  expect((await named("fine")).rows).toEqual([{ v: "fine" }]);
  expect(await outcome(named(unsendable))).toMatchObject({ cause: { message: "this value cannot be sent" } });
  expect((await named("still fine")).rows).toEqual([{ v: "still fine" }]);
  expect(pool.getStats().create_count).toBe(1);
});

test("a parameter that cannot be serialised on pg's own client does not poison the statement for the next borrower", async () => {
  const pool = faults.pool({ maxOpenConns: 1 });
  const config = { name: "by-client", text: "select $1::text as v" };
  const sendUnsendable = async (): Promise<void> => {
    const client = await pool.connect();
    const failing = outcome(client.query({ ...config, values: [unsendable] }));
    // Behind it, while it is not answered yet.
    expect((await client.query({ ...config, values: ["at once"] })).rows).toEqual([{ v: "at once" }]);
    expect(await failing).toMatchObject({ message: "this value cannot be sent" });
    client.release();
  };
  await sendUnsendable();
  expect((await pool.query({ ...config, values: ["fine"] })).rows).toEqual([{ v: "fine" }]);
  // Now it has been prepared.
  await sendUnsendable();
  expect((await pool.query({ ...config, values: ["still fine"] })).rows).toEqual([{ v: "still fine" }]);
  expect(pool.getStats().create_count).toBe(1);
});

test("a parameter that cannot be serialised answers its callback once", async () => {
  const pool = faults.pool({ maxOpenConns: 1 });
  const told: unknown[] = [];
  const config = { name: "by-callback", text: "select $1::text as v" };
  pool.query(config.text, [unsendable], (error) => void told.push((error.cause as Error).message));
  pool.query({ ...config, values: [unsendable] } as never, (error) => void told.push((error.cause as Error).message));
  await until("both are told", () => told.length >= 2);
  await pool.query("select 1");
  expect(told).toEqual(["this value cannot be sent", "this value cannot be sent"]);
});

test.each([
  ["the pool's", { queryTimeoutMs: 50 }, {}, {}],
  ["pg's, of the pool", { query_timeout: 50 }, {}, {}],
  ["pg's, of the query", {}, { query_timeout: 50 }, {}],
  ["the call's", {}, {}, { timeoutMs: 50 }],
])("after a query timeout (%s) the next query does not hang", async (_whose, options, config, limits) => {
  const pool = faults.pool({ maxOpenConns: 1, ...options });
  await pool.query("select 1", [], { timeoutMs: 10_000 });
  const error = await outcome(pool.query({ text: "select pg_sleep(600)", ...config }, undefined, limits));
  expect(error).toBeInstanceOf(QueryTimeoutError);
  expect(await pool.queryRow("select 1 as n", [], { timeoutMs: 10_000 })).toEqual({ n: 1 });
});

test("after a query timeout of pg's own on a client, the client's next borrower does not hang", async () => {
  const pool = faults.pool({ maxOpenConns: 1 });
  const client = await pool.connect();
  const config = { text: "select pg_sleep(600)", query_timeout: 50 };
  expect(await outcome(client.query(config))).toMatchObject({ message: "Query read timeout" });
  client.release();
  expect(await pool.queryRow("select 1 as n", [], { timeoutMs: 10_000 })).toEqual({ n: 1 });
});

test("a query that is given up is stopped on the server", async () => {
  const pool = faults.pool({ maxOpenConns: 1 });
  // The server would notice the end of the connection as well.
  await pool.exec("set client_connection_check_interval = 0");
  const controller = new AbortController();
  const given = outcome(pool.query("select pg_sleep(600)", [], { signal: controller.signal }));
  await faults.running(pool, 1);
  controller.abort(new Error("nobody wants it"));
  expect(await given).toBe(controller.signal.reason);
  await faults.running(pool, 0);
});

test("a query on a connection that the other side has closed fails, and does not hang", async () => {
  const pool = faults.pool({ maxOpenConns: 1 });
  const client = await pool.connect();
  await faults.terminate(pool);
  await until("the socket is closed", () => pool.getStats().open_connections === 0);
  expect(await outcome(client.query("select 1"))).toBeInstanceOf(Error);
  client.release();
});

test("waiters are served in the order of their asking, however many they are", async () => {
  const pool = faults.pool({ maxOpenConns: 1 });
  const client = await pool.connect();
  const served: number[] = [];
  const waiting = Array.from({ length: 200 }, (_, n) => pool.query("select 1").then(() => served.push(n)));
  client.release();
  await Promise.all(waiting);
  expect(served).toEqual(Array.from({ length: 200 }, (_, n) => n));
});

test("a prepared statement is parsed and described once for each connection", async () => {
  const proxy = await faults.proxy();
  const pool = faults.pool({ through: proxy, maxOpenConns: 1, prepareThreshold: 0 });
  const ask = async (n: number): Promise<void> =>
    expect(await pool.queryRow("select $1::int as n", [n])).toEqual({ n });
  await ask(-1);
  await ask(-2);
  const [link] = proxy.links;
  const sent = () => (["Parse", "Describe", "Execute"] as const).map((name) => link?.toServer.count(name) ?? 0);
  const [parses, describes, executes = 0] = sent();
  for (let n = 0; n < 10; n++) await ask(n);
  expect(sent()).toEqual([parses, describes, executes + 10]);
});

describe("on a pipelined pool", () => {
  const pipelined = { pipeline: true, maxOpenConns: 1 };

  /** Opens the connection, so that what is asked for together shares it. */
  async function openPool(): Promise<DbPool> {
    const pool = faults.pool(pipelined);
    await pool.query("select 1");
    return pool;
  }

  test("a named statement that fails to parse gives each that asked for it the server's reason", async () => {
    const pool = await openPool();
    const config = { name: "nonsense", text: "select nonsense from $1" };
    const errors = await Promise.all(Array.from({ length: 3 }, () => outcome(pool.query(config, ["x"]))));
    for (const error of errors) expect(error).toMatchObject({ code: "42601" });
    // A statement that can be parsed is known by its name from the first on.
    const good = { name: "good", text: "select $1::int as n" };
    const rows = await Promise.all(Array.from({ length: 3 }, (_, n) => pool.queryRow(good, [n])));
    expect(rows).toEqual([{ n: 0 }, { n: 1 }, { n: 2 }]);
  });

  test("a BEGIN opens a transaction for no neighbour", async () => {
    const pool = await openPool();
    await pool.exec("create table neighbours (n int)");
    await Promise.all([
      pool.exec("insert into neighbours values (1)"),
      pool.query("begin"),
      pool.exec("insert into neighbours values (2)"),
      pool.query("rollback"),
      pool.exec("insert into neighbours values (3)"),
    ]);
    expect(await pool.queryRow("select count(*)::int as n from neighbours")).toEqual({ n: 3 });
  });

  test("the timeout of one query costs its neighbours nothing", async () => {
    const pool = faults.pool({ ...pipelined, maxOpenConns: 2 });
    const slow = outcome(pool.query("select pg_sleep(600)", [], { timeoutMs: 200 }));
    const neighbours = Array.from({ length: 20 }, (_, n) => pool.queryRow("select $1::int as n", [n]));
    expect(await Promise.all(neighbours)).toEqual(Array.from({ length: 20 }, (_, n) => ({ n })));
    expect(await slow).toBeInstanceOf(QueryTimeoutError);
  });

  test("a query that reads its rows in portions runs on a connection of its own, among others", async () => {
    const pool = await openPool();
    const rows: unknown[] = [];
    const before = pool.queryRow("select 1 as n");
    const portions = new pg.Query({ text: "select generate_series(1, 7) as n", rows: 2 } as pg.QueryConfig);
    portions.on("row", (row: unknown) => rows.push(row));
    const ended = once(pool.query(portions), "end");
    const behind = pool.queryRow("select 2 as n");
    expect(await before).toEqual({ n: 1 });
    await ended;
    expect(await behind).toEqual({ n: 2 });
    expect(rows).toEqual(Array.from({ length: 7 }, (_, n) => ({ n: n + 1 })));
  });

  test("a subclass of pg.Query that writes its own bytes runs by itself, among others", async () => {
    class Handmade extends pg.Query {
      override submit = (connection: pg.Connection): void => {
        connection.stream.write(Buffer.from("Q\0\0\0\x12select 9 as n\0", "latin1"));
      };
    }
    const pool = await openPool();
    const rows: unknown[] = [];
    const before = pool.queryRow("select 1 as n");
    const handmade = new Handmade("select 9 as n");
    handmade.on("row", (row: unknown) => rows.push(row));
    const ended = once(pool.query(handmade), "end");
    const behind = pool.queryRow("select 2 as n");
    expect([await before, await behind]).toEqual([{ n: 1 }, { n: 2 }]);
    await ended;
    expect(rows).toEqual([{ n: 9 }]);
  });

  test("a parameter that cannot be serialised fails alone", async () => {
    const pool = await openPool();
    const config = { name: "alone", text: "select $1::text as v" };
    const answers = await Promise.all(
      ["a", unsendable, "b", unsendable, "c"].map((value) => outcome(pool.queryRow(config, [value]))),
    );
    const refused = expect.objectContaining({ code: "ERR_VG_DB_VALUE" }) as unknown;
    expect(answers).toEqual([{ v: "a" }, refused, { v: "b" }, refused, { v: "c" }]);
  });
});
