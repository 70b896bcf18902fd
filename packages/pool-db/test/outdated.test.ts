/** What was prepared for tables that are others now: nobody may notice that it was. */
import pg from "pg";
import { expect, test } from "vitest";
import type { DbConnection, DbPool, DbPoolOptions } from "../src/index.ts";
import { usePostgres } from "./support.ts";

const postgres = usePostgres();

/** 7 o'clock in UTC for a `timestamptz`; for a `timestamp`, which has no offset, 12. */
const MOMENT = "2020-01-01 12:00:00+05";

let names = 0;
const newName = (): string => `outdated_${++names}`;

interface Queryable {
  query(text: string, values?: readonly unknown[]): Promise<pg.QueryResult>;
}

function open(options: DbPoolOptions = {}): DbPool {
  return postgres.pool({ maxOpenConns: 2, transactionPooler: false, prepareThreshold: 1, ...options });
}

/** Prepares the text, by running it until that has happened. */
async function warm(conn: Queryable, text: string, values: readonly unknown[] = []): Promise<void> {
  for (let n = 0; n < 3; n++) await conn.query(text, values);
}

/** The hours that are in the table, in order. */
async function hours(conn: Queryable, table: string): Promise<number[]> {
  const { rows } = await conn.query(`select extract(hour from ts)::int as hour from ${table} order by 1`);
  return rows.map((row: { hour: number }) => row.hour);
}

test.each([
  ["the pool", async (pool: DbPool, text: string) => void (await pool.query(text))],
  ["a transaction", (pool: DbPool, text: string) => pool.transaction(async (tx) => void (await tx.exec(text)))],
  [
    "a client of connect()",
    async (pool: DbPool, text: string) => {
      const client = await pool.connect();
      await client.query("begin");
      await client.query(text);
      await client.query("commit");
      client.release();
    },
  ],
])("after a change of the schema by %s, no connection sends values with the types of before", async (_by, run) => {
  const both = open({ minIdleConns: 2, maxIdleConns: 2 });
  const table = newName();
  const insert = (): Promise<unknown> =>
    Promise.all([1, 2].map(() => both.exec(`insert into ${table} values ($1)`, ["2026-01-01 00:00:00-02"])));
  await both.warm(2);
  await run(both, `create table ${table} (at timestamp)`);
  for (let n = 0; n < 6; n++) await insert();
  await run(both, `drop table ${table}`);
  await run(both, `create table ${table} (at timestamptz)`);
  await insert();
  const { rows } = await both.query(`select distinct at from ${table}`);
  expect(rows).toEqual([{ at: new Date("2026-01-01T02:00:00Z") }]);
});

test("a temporary table that comes to stand before a permanent one gets what is written to its name", async () => {
  const table = newName();
  await using conn = await open().acquire();
  await conn.query("create temp table other (n int)");
  await conn.query(`create table ${table} (n int)`);
  await warm(conn, `insert into ${table} values ($1)`, [1]);
  await conn.query(`create temp table ${table} (n int)`);
  await conn.query(`insert into ${table} values ($1)`, [99]);
  const { rows } = await conn.query(`select n from pg_temp.${table}`);
  expect(rows).toEqual([{ n: 99 }]);
});

test("a temporary table of a transaction is read in it, and the permanent one behind it", async () => {
  const one = open({ maxOpenConns: 1 });
  const table = newName();
  const count = `select count(*)::int as n from ${table}`;
  await one.query("create temp table before_all (n int)");
  await one.query(`create table ${table} (n int)`);
  await one.query(`insert into ${table} values (1), (2)`);
  await warm(one, count);
  const inside = await one.transaction(async (tx) => {
    await tx.query(`create temp table ${table} (n int) on commit drop`);
    await warm(tx, count);
    return (await tx.query(count)).rows;
  });
  expect([inside, (await one.query(count)).rows]).toEqual([[{ n: 0 }], [{ n: 2 }]]);
});

test("temporary tables of one name and other types follow each other", async () => {
  const one = open({ maxOpenConns: 1 });
  const seen: number[][] = [];
  for (const type of ["timestamp", "timestamptz"]) {
    const transaction = one.transaction(async (tx) => {
      await tx.query(`create temp table moment (ts ${type}) on commit drop`);
      await tx.query("set local timezone = 'UTC'");
      await warm(tx, "insert into moment values ($1)", [MOMENT]);
      return hours(tx, "moment");
    });
    seen.push(await transaction);
  }
  expect(seen).toEqual([
    [12, 12, 12],
    [7, 7, 7],
  ]);
});

test("SELECT INTO makes a temporary table that is then read", async () => {
  const table = newName();
  await using conn = await open().acquire();
  await conn.query("create temp table before_all (n int)");
  await conn.query(`create table ${table} (n int)`);
  await warm(conn, `select count(*)::int as n from ${table}`);
  await conn.query(`select 7 as n into temp ${table} from generate_series(1, 9)`);
  expect((await conn.query(`select count(*)::int as n from ${table}`)).rows).toEqual([{ n: 9 }]);
});

test("what was prepared for a change that the pool then rolled back is prepared anew for the next borrower", async () => {
  const one = open({ maxOpenConns: 1 });
  const table = newName();
  await one.query(`create table ${table} (ts timestamp)`);
  const insert = `insert into ${table} values ($1)`;
  const conn = await one.acquire();
  await conn.query("begin");
  await conn.query(`alter table ${table} alter ts type timestamptz`);
  await warm(conn, insert, [MOMENT]);
  conn.release();
  await one.query(insert, [MOMENT]);
  expect(await hours(one, table)).toEqual([12]);
});

test("what was prepared for a change in a nested transaction that failed is prepared anew in the one around it", async () => {
  const one = open({ maxOpenConns: 1 });
  const table = newName();
  await one.query(`create table ${table} (ts timestamp)`);
  const insert = `insert into ${table} values ($1)`;
  await one.transaction(async (tx) => {
    const nested = tx.transaction(async (inner) => {
      await inner.query(`alter table ${table} alter ts type timestamptz`);
      await warm(inner, insert, [MOMENT]);
      throw new Error("undone");
    });
    await expect(nested).rejects.toThrow("undone");
    await tx.query(insert, [MOMENT]);
  });
  expect(await hours(one, table)).toEqual([12]);
});

test("what others prepare while a change is under way is prepared anew when it is done, though its connection is still lent", async () => {
  const both = open();
  const table = newName();
  await both.query(`create table ${table} (ts timestamp)`);
  const insert = `insert into ${table} values ($1)`;
  await using migration = await both.acquire();
  await using other = await both.acquire();
  await other.query("set timezone = 'UTC'");
  await warm(other, insert, [MOMENT]);
  await migration.query("begin");
  await migration.query(`create table ${newName()} (n int)`);
  await warm(other, insert, [MOMENT]);
  await migration.query(`drop table ${table}`);
  await migration.query(`create table ${table} (ts timestamptz)`);
  await migration.query("commit");
  await other.query(insert, [MOMENT]);
  expect(await hours(other, table)).toEqual([7]);
});

/** Ways on which a text is not looked at, because pg's own client runs it. */
const WAYS: readonly (readonly [string, (pool: DbPool, text: string) => Promise<unknown>])[] = [
  [
    "a key of a query that only pg knows",
    (both, text) => both.query({ text, queryMode: "extended", simple: true } as pg.QueryConfig),
  ],
  [
    "a query_timeout",
    (both, text) => withClient(both, (client) => client.query({ text, query_timeout: 5_000 } as pg.QueryConfig)),
  ],
  [
    "a query behind another one that nobody awaits",
    (both, text) =>
      withClient(both, (client) => Promise.all([client.query("select pg_sleep(0.01)"), client.query(text)])),
  ],
  [
    "a query object",
    (both, text) =>
      withClient(both, (client) => {
        const query = client.query(new pg.Query(text));
        return new Promise((resolve, reject) => query.once("end", resolve).once("error", reject));
      }),
  ],
  [
    "a client whose query() somebody watches",
    async (both, text) => {
      const { query } = pg.Client.prototype;
      pg.Client.prototype.query = function watched(this: pg.Client, ...given: unknown[]): unknown {
        return Reflect.apply(query, this, given);
      } as typeof query;
      try {
        await withClient(both, (client) => client.query(text));
      } finally {
        pg.Client.prototype.query = query;
      }
    },
  ],
];

async function withClient<T>(both: DbPool, use: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await both.connect();
  try {
    return await use(client);
  } finally {
    client.release();
  }
}

test.each(WAYS)("a change of the schema by way of %s is noticed", async (_by, run) => {
  const both = open();
  const table = newName();
  await both.query(`create table ${table} (ts timestamp)`);
  const insert = `insert into ${table} values ($1)`;
  const other: DbConnection = await both.acquire();
  await other.query("set timezone = 'UTC'");
  await warm(other, insert, [MOMENT]);
  await run(both, `alter table ${table} alter ts type timestamptz`);
  await run(both, `delete from ${table}`);
  await other.query(insert, [MOMENT]);
  expect(await hours(other, table)).toEqual([7]);
  other.release();
});

test("another search path leads to another table", async () => {
  const [a, b] = [newName(), newName()];
  await using conn = await open().acquire();
  await conn.query(`create schema ${a} create table moment (ts timestamp)`);
  await conn.query(`create schema ${b} create table moment (ts timestamptz)`);
  await conn.query("set timezone = 'UTC'");
  await conn.query(`set search_path = ${a}`);
  await warm(conn, "insert into moment values ($1)", [MOMENT]);
  await conn.query("select set_config('search_path', $1, false)", [b]);
  await conn.query("insert into moment values ($1)", [MOMENT]);
  expect(await hours(conn, "moment")).toEqual([7]);
});

test("nothing in a batch relies on what an earlier statement of it may have changed", async () => {
  const one = open({ maxOpenConns: 1 });
  const table = newName();
  await one.query(`create table ${table} (ts timestamp)`);
  const insert = { text: `insert into ${table} values ($1)`, values: [MOMENT] };
  for (let n = 0; n < 3; n++) await one.query(insert);
  await one.batch([
    "set local timezone = 'UTC'",
    `delete from ${table}`,
    `alter table ${table} alter ts type timestamptz`,
    insert,
  ]);
  expect(await hours(one, `(select ts at time zone 'UTC' as ts from ${table}) of_utc`)).toEqual([7]);
});

test.each([
  ["nothing that others have prepared by a CALL", "call nothing_to_do()", 0],
  ["nothing that others have prepared by a temporary table", "create temp table if not exists mine (n int)", 0],
  [
    "nothing at all by INSERT ... ON CONFLICT DO NOTHING among others",
    "insert into taken values (1) on conflict do nothing; select 1",
    0,
  ],
])("outdated is %s", async (_what, text, misses) => {
  const both = open();
  await both.query("create table if not exists taken (n int primary key)");
  await both.query("create or replace procedure nothing_to_do() language sql as 'select 1'");
  await using other = await both.acquire();
  await warm(other, "select $1::int as n", [1]);
  const before = both.getStats().statement_miss_count;
  for (let n = 0; n < 5; n++) {
    await both.query(text);
    await other.query("select $1::int as n", [n]);
  }
  expect(both.getStats().statement_miss_count - before).toBe(misses);
});
