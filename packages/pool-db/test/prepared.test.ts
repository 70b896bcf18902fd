import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import pg from "pg";
import { afterEach, expect, test } from "vitest";
import type { BatchItem, DbConnection, DbPoolOptions } from "../src/index.ts";
import { nameFor } from "../src/query/statement-name.ts";
import { StatementBook, type KnownStatement } from "../src/query/statement-book.ts";
import { fakeServer, oneRow } from "./fake-server.ts";
import { countedWrites, usePostgres } from "./support.ts";
import { READY, errorResponse } from "./wire-bytes.ts";

const postgres = usePostgres();

interface Queryable {
  query(text: string, values?: readonly unknown[], options?: { prepare?: boolean }): Promise<pg.QueryResult>;
}

/** Name and text of what the server has prepared for this connection, in the order in which they were prepared. */
async function preparedOn(conn: Queryable): Promise<readonly (readonly [name: string, text: string])[]> {
  const { rows } = await conn.query("select name, statement from pg_prepared_statements order by prepare_time", [], {
    prepare: false,
  });
  return rows.map(({ name, statement }) => [name, statement] as const);
}

/** A pool that knows what its server is, and prepares a text at its second use. */
const SURE = { maxOpenConns: 1, transactionPooler: false, prepareThreshold: 1 } as const;

async function lease(options: DbPoolOptions = {}): Promise<DbConnection> {
  return postgres.pool({ ...SURE, ...options }).acquire();
}

async function twice(conn: DbConnection, text: string, values: readonly unknown[] = []): Promise<void> {
  for (let n = 0; n < 2; n++) await conn.query(text, values);
}

test("a text is prepared once the pool has run it more often than the threshold, on the connections that run it then", async () => {
  const pool = postgres.pool({ maxOpenConns: 2, transactionPooler: false });
  await using first = await pool.acquire();
  await using second = await pool.acquire();
  const text = "select $1::int as n";
  await first.query(text, [1]);
  await first.query(text, [2]);
  expect(await preparedOn(first)).toEqual([]);
  await second.query(text, [3]);
  expect([await preparedOn(first), await preparedOn(second)]).toEqual([[], [[nameFor(text), text]]]);
  await first.query(text, [4]);
  await second.query(text, [5]);
  expect([await preparedOn(first), await preparedOn(second)]).toEqual([
    [[nameFor(text), text]],
    [[nameFor(text), text]],
  ]);
});

test("what the server is found out with the first text that is worth preparing, and that takes no write of its own", async () => {
  const counted = countedWrites();
  const pool = postgres.pool({ maxOpenConns: 1, prepareThreshold: 0, ...counted.options });
  await using conn = await pool.acquire();
  const before = counted.writes;
  for (let n = 0; n < 3; n++) expect((await conn.query("select $1::int as n", [n])).rows).toEqual([{ n }]);
  expect(counted.writes - before).toBe(3);
  expect(await preparedOn(conn)).toEqual([[nameFor("select $1::int as n"), "select $1::int as n"]]);
});

test("the least recently used leaves a full cache, with the write of the one that comes", async () => {
  const counted = countedWrites();
  await using conn = await lease({ statementCacheSize: 2, ...counted.options });
  for (const text of ["select 1", "select 2", "select 1"]) await twice(conn, text);
  expect(await preparedOn(conn)).toEqual([
    [nameFor("select 1"), "select 1"],
    [nameFor("select 2"), "select 2"],
  ]);
  const before = counted.writes;
  await twice(conn, "select 3");
  expect(counted.writes - before).toBe(2);
  expect(await preparedOn(conn)).toEqual([
    [nameFor("select 1"), "select 1"],
    [nameFor("select 3"), "select 3"],
  ]);
  await conn.query("select 2");
  expect(await preparedOn(conn)).toEqual([
    [nameFor("select 3"), "select 3"],
    [nameFor("select 2"), "select 2"],
  ]);
});

test("nothing is prepared with statementCacheSize 0, with prepare: false, for long texts, and for what is not plain", async () => {
  await using none = await lease({ statementCacheSize: 0 });
  for (let n = 0; n < 5; n++) await none.query("select 1");
  expect(await preparedOn(none)).toEqual([]);
  await using conn = await lease();
  const long = `select 1 /* ${"x".repeat(16 * 1024)} */ as n`;
  for (let n = 0; n < 5; n++) {
    await conn.query("select 2", [], { prepare: false });
    expect((await conn.query(long)).rows).toEqual([{ n: 1 }]);
    for (const text of ["explain select 1", "show timezone", "(select 1)", "select 1; select 2"])
      await conn.query(text);
  }
  expect(await preparedOn(conn)).toEqual([]);
});

test("a table that changes between two uses is seen by every statement, with its new columns", async () => {
  await postgres.watch("create table changing (a int)");
  await postgres.watch("insert into changing values (1)");
  await using conn = await lease();
  const text = "select * from changing";
  const named = { name: "mine", text };
  for (const run of [() => conn.query(text), () => conn.query(named), () => conn.batch([text, "select 1", text])]) {
    const rows = async (): Promise<unknown> => {
      const result = await run();
      return Array.isArray(result) ? [result[0]?.rows, result[2]?.rows] : result.rows;
    };
    await rows();
    const before = await rows();
    await postgres.watch("alter table changing add column b text default 'b'");
    const after = await rows();
    expect(after).not.toEqual(before);
    expect(await rows()).toEqual(after);
    await postgres.watch("alter table changing drop column b");
    expect(await rows()).toEqual(before);
    await postgres.watch("alter table changing rename a to c");
    expect(await rows()).not.toEqual(before);
    await postgres.watch("alter table changing rename c to a");
    expect(await rows()).toEqual(before);
  }
});

test("inside a transaction the change is an error once, and the next transaction works", async () => {
  await postgres.watch("create table changing_too as select 1 as a");
  const pool = postgres.pool(SURE);
  const text = "select * from changing_too";
  for (let n = 0; n < 3; n++) await pool.query(text);
  await postgres.watch("alter table changing_too add column b int");
  const failing = pool.transaction((tx) => tx.query(text));
  await expect(failing).rejects.toMatchObject({ code: "0A000" });
  expect(await pool.transaction(async (tx) => (await tx.query(text)).rows)).toEqual([{ a: 1, b: null }]);
  expect(pool.getStats()).toMatchObject({ create_count: 1 });
});

test("a column that gets another type takes values of the new type at once, though its statement was prepared for the old", async () => {
  await postgres.watch("create table migrating (id int primary key, word int)");
  await using conn = await lease();
  const insert = "insert into migrating values ($1, $2) returning *";
  const find = "select word from migrating where word = $1";
  await twice(conn, insert.replace(" returning", " on conflict do nothing returning"), [0, 0]);
  for (let n = 1; n < 4; n++) await conn.query(insert, [n, n]);
  await twice(conn, find, [1]);
  await postgres.watch("alter table migrating alter id type bigint, alter word type text");
  expect((await conn.query(insert, ["3000000000", "a word"])).rows).toEqual([{ id: "3000000000", word: "a word" }]);
  expect((await conn.query(find, ["a word"])).rows).toEqual([{ word: "a word" }]);
});

test.each(["deallocate all", "discard all"])(
  "after %s on the connection everything works, and is prepared anew",
  async (text) => {
    await using conn = await lease();
    const named = { name: "mine", text: "select 2 as n" };
    const run = async (): Promise<void> => {
      expect((await conn.query("select 1 as n")).rows).toEqual([{ n: 1 }]);
      expect((await conn.query(named)).rows).toEqual([{ n: 2 }]);
      const results = await conn.batch(["select 1 as n", named, "select 3 as n", "select 1 as n"]);
      expect(results.map(({ rows }) => rows)).toEqual([[{ n: 1 }], [{ n: 2 }], [{ n: 3 }], [{ n: 1 }]]);
    };
    await run();
    await run();
    const before = await preparedOn(conn);
    expect(before).toHaveLength(3);
    await conn.query(text);
    expect(await preparedOn(conn)).toEqual([]);
    await run();
    await run();
    const after = await preparedOn(conn);
    expect(after.map(([, statement]) => statement).toSorted()).toEqual(
      before.map(([, statement]) => statement).toSorted(),
    );
    // By way of pg's client too.
    expect((await conn.client.query(named)).rows).toEqual([{ n: 2 }]);
  },
);

test("one statement that is deallocated by hand takes none of the others with it for good", async () => {
  await using conn = await lease();
  const names = ["a", "b", "c"].map((name) => ({ name, text: `select '${name}' as n` }));
  for (const named of names) await conn.query(named);
  await twice(conn, "select 1 as n");
  await conn.query("deallocate b");
  for (let round = 0; round < 2; round++) {
    for (const named of names.toReversed()) expect((await conn.query(named)).rows).toEqual([{ n: named.name }]);
    expect((await conn.query("select 1 as n")).rows).toEqual([{ n: 1 }]);
  }
  // Each is there once: what was given up was closed.
  expect((await preparedOn(conn)).map(([, text]) => text).toSorted()).toEqual(
    [...names.map(({ text }) => text), "select 1 as n"].toSorted(),
  );
});

test("inside a transaction a deallocated statement is an error once, and the next transaction works", async () => {
  await using conn = await lease();
  await twice(conn, "select 1 as n");
  await conn.query("begin");
  await conn.query("deallocate all");
  await expect(conn.query("select 1 as n")).rejects.toMatchObject({ code: "26000" });
  await conn.query("rollback");
  await conn.query("begin");
  expect((await conn.query("select 1 as n")).rows).toEqual([{ n: 1 }]);
  await conn.query("commit");
});

test("a name of ours that somebody has taken by hand is passed over", async () => {
  await using conn = await lease();
  const name = nameFor("select 1 as n");
  await conn.query(`prepare "${name}" as select 'by hand'`);
  await twice(conn, "select 1 as n");
  expect((await conn.query("select 1 as n")).rows).toEqual([{ n: 1 }]);
  expect(await preparedOn(conn)).toEqual([[name, `prepare "${name}" as select 'by hand'`]]);
});

test("a name of the user's that is taken by hand is his error, as with pg, and turns preparing off for nobody", async () => {
  await using conn = await lease();
  await conn.query("prepare taken as select 'by hand'");
  for (let n = 0; n < 4; n++) {
    await expect(conn.query({ name: "taken", text: "select 1" })).rejects.toMatchObject({ code: "42P05" });
  }
  await twice(conn, "select 2");
  expect((await preparedOn(conn)).map(([name]) => name)).toEqual(["taken", nameFor("select 2")]);
});

test("what has happened by the time that a prepared statement is found missing does not happen twice", async () => {
  await using conn = await lease();
  await conn.query("create temporary table done (n int)");
  const sure = "select 1 as n";
  const attempt = async (...first: BatchItem[]): Promise<void> => {
    await twice(conn, sure);
    await conn.client.query("deallocate all");
    await expect(conn.batch([...first, sure])).rejects.toMatchObject({ code: "26000", statementIndex: first.length });
  };
  await attempt("begin", "insert into done values (1)", "commit");
  await attempt("select pg_advisory_lock(7)");
  expect((await conn.query("select count(*)::int as n from done")).rows).toEqual([{ n: 1 }]);
  const unlock = async (): Promise<unknown> => (await conn.query("select pg_advisory_unlock(7) as held")).rows;
  expect([await unlock(), await unlock()]).toEqual([[{ held: true }], [{ held: false }]]);
  // What is harmless is simply run again.
  await twice(conn, sure);
  await conn.client.query("deallocate all");
  expect((await conn.batch(["insert into done values (2)", sure])).map(({ rowCount }) => rowCount)).toEqual([1, 1]);
  expect((await conn.query("select count(*)::int as n from done")).rows).toEqual([{ n: 2 }]);
});

test("a bad value poisons nothing, whether it is found here or on the server", async () => {
  const pool = postgres.pool(SURE);
  const circular: { self?: unknown } = {};
  circular.self = circular;
  const throwing = {
    toPostgres: () => {
      throw new Error("no");
    },
  };
  const bad: unknown[] = [circular, throwing, "abc", "99999999999", { toJSON: () => undefined }, "\0"];
  for (const query of ["select $1::int + 1 as n", { name: "named", text: "select $1::int + 2 as n" }]) {
    for (let round = 0; round < 4; round++) {
      for (const value of bad.toSpliced(4, 1)) await expect(pool.query(query, [value])).rejects.toThrow();
      expect((await pool.query(query, [bad[4]])).rows).toEqual([{ n: null }]);
      for (const values of [[], [1, 2]])
        await expect(pool.query(query, values)).rejects.toMatchObject({ code: "08P01" });
      expect((await pool.query(query, [round])).rows).toEqual([{ n: round + (typeof query === "string" ? 1 : 2) }]);
    }
  }
  expect(pool.getStats()).toMatchObject({ create_count: 1 });
  await using conn = await pool.acquire();
  expect((await preparedOn(conn)).map(([, text]) => text).toSorted()).toEqual([
    "select $1::int + 1 as n",
    "select $1::int + 2 as n",
  ]);
});

test("more values than a statement can have are refused, and no connection notices", async () => {
  const pool = postgres.pool(SURE);
  const values = Array.from({ length: 65_536 }, (_, n) => n);
  const message = "a statement takes at most 65535 values, got 65536";
  const text = "select $1";
  for (const call of [() => pool.query(text, values), () => pool.batch([[text, values]])]) {
    await expect(call()).rejects.toMatchObject({ code: "ERR_VG_DB_CONFIG", message: expect.stringContaining(message) });
  }
  const client = await pool.connect();
  await expect(client.query(text, values)).rejects.toThrow(message);
  const most = Array.from({ length: 65_535 }, (_, n) => `($${n + 1}::int)`).join(",");
  const { rows } = await client.query(`select sum(n)::int as n from (values ${most}) as v(n)`, values.slice(1).fill(1));
  expect(rows).toEqual([{ n: 65_535 }]);
  client.release();
  expect(await pool.queryRow("select 1 as n")).toEqual({ n: 1 });
  expect(pool.getStats()).toMatchObject({ create_count: 1 });
});

test("a NUL character in a text or a name is refused before anything is sent", async () => {
  const counted = countedWrites();
  const pool = postgres.pool({ ...SURE, ...counted.options });
  await pool.query("select 1");
  const before = counted.writes;
  await using conn = await pool.acquire();
  const inputs = [
    "select 1\0",
    "explain select 1\0; drop table x",
    { text: "select \0" },
    { name: "a\0", text: "select 1" },
  ];
  for (const input of inputs) {
    for (const call of [pool.query(input), pool.batch([input]), conn.query(input), conn.batch(["select 1", input])]) {
      await expect(call).rejects.toMatchObject({ code: "ERR_VG_DB_CONFIG", message: expect.stringContaining("NUL") });
    }
  }
  expect(counted.writes).toBe(before);
  await expect(conn.query("select $1", ["a\0b"])).rejects.toMatchObject({ code: "22021" });
});

test("a user's name is for one text, on pg's client as on ours", async () => {
  await using conn = await lease();
  const one = { name: "mine", text: "select 1 as n" };
  const two = { name: "mine", text: "select 2 as n" };
  expect((await conn.query(one)).rows).toEqual([{ n: 1 }]);
  for (const run of [() => conn.query(two), () => conn.client.query(two), () => conn.batch(["select 3", two])]) {
    await expect(run()).rejects.toThrow(
      "Prepared statements must be unique - 'mine' was used for a different statement",
    );
    expect((await conn.client.query(one)).rows).toEqual([{ n: 1 }]);
    expect((await conn.query(one)).rows).toEqual([{ n: 1 }]);
  }
  // Prepared by pg's client, run by the wire.
  await conn.client.query({ name: "explained", text: "explain select 1" });
  await expect(conn.query({ name: "explained", text: "select 1" })).rejects.toThrow("must be unique");
  expect((await preparedOn(conn)).map(([name]) => name)).toEqual(["mine", "explained"]);
});

const inherited = Object.getOwnPropertyDescriptor(pg.Client.prototype, "query") as PropertyDescriptor;
afterEach(() => Object.defineProperty(pg.Client.prototype, "query", inherited));

test("a name that is refused while somebody watches pg's queries does not stop the connection", async () => {
  const original = inherited.value as (...given: unknown[]) => unknown;
  Object.defineProperty(pg.Client.prototype, "query", {
    ...inherited,
    value(this: pg.Client, ...given: unknown[]) {
      return original.apply(this, given);
    },
  });
  const pool = postgres.pool(SURE);
  await pool.query({ name: "mine", text: "select 1 as n" });
  const refused = pool.query({ name: "mine", text: "select 2 as n" }, [], { timeoutMs: 5_000 });
  await expect(refused).rejects.toThrow("must be unique");
  expect(await pool.queryRow("select 3 as n", [], { timeoutMs: 5_000 })).toEqual({ n: 3 });
  expect(pool.getStats()).toMatchObject({ create_count: 1 });
});

test("a batch does not evict what it uses itself, and the cache is as small as before when it is over", async () => {
  await using conn = await lease({ statementCacheSize: 2 });
  const texts = Array.from({ length: 6 }, (_, n) => `select ${n} as n`);
  for (const text of texts) await twice(conn, text);
  await conn.query("begin");
  // Prepared before, and pushed out by those behind it, if it could be.
  const batch = [...texts.slice(4), ...texts.slice(0, 4)];
  const results = await conn.batch(batch);
  expect(results.map(({ rows }) => rows[0])).toEqual([4, 5, 0, 1, 2, 3].map((n) => ({ n })));
  await conn.query("commit");
  for (const text of texts) await conn.query(text);
  expect((await preparedOn(conn)).map(([, text]) => text)).toEqual(texts.slice(4));
});

test("the same text several times in a batch is prepared once", async () => {
  await using conn = await lease({ prepareThreshold: 0 });
  const text = "select $1::int as n";
  const results = await conn.batch([1, 2, 3].map((n) => [text, [n]]));
  expect(results.map(({ rows }) => rows)).toEqual([[{ n: 1 }], [{ n: 2 }], [{ n: 3 }]]);
  expect(await preparedOn(conn)).toEqual([[nameFor(text), text]]);
});

test("a server that cannot say which session it is has nothing prepared, and no caller hears of it", async () => {
  const asked: string[] = [];
  const { dsn, close } = await fakeServer(({ types }) => {
    asked.push(types);
    if (types === "PBDES") return oneRow("1");
    return Buffer.concat([errorResponse("ERROR", "42883", "function pg_backend_pid() does not exist"), READY]);
  });
  const pool = postgres.pool({ dsn, maxOpenConns: 1, prepareThreshold: 0 });
  for (let n = 0; n < 3; n++) expect(await pool.queryRow("select 1 as n")).toEqual({ n: "1" });
  expect(asked).toEqual(["PBDEPBDES", "PBDES", "PBDES", "PBDES"]);
  await pool.close();
  await close();
});

test("a statement that has been used is remembered, and a million others are not", async () => {
  const book = new StatementBook();
  const references: WeakRef<KnownStatement>[] = [];
  const often = "select 'often'";
  for (let n = 0; n < 1_000_000; n++) {
    const known = book.look(`select ${n}`);
    if (n % 100 === 0) references.push(new WeakRef(known));
    if (n % 900 === 0) book.look(often);
    // A weak reference is cleared only between two turns.
    if (n % 100_000 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  expect(book.look(often).uses).toBeGreaterThan(1_000);
  expect(book.look("select 5").uses).toBe(1);
  await new Promise((resolve) => setImmediate(resolve));
  setFlagsFromString("--expose-gc");
  (runInNewContext("gc") as () => void)();
  // Of each hundred one is watched, and of 1000 to 2000 that are remembered.
  expect(references.filter((reference) => reference.deref() !== undefined).length).toBeLessThanOrEqual(20);
});
