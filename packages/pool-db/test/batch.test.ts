import pg from "pg";
import { expect, test } from "vitest";
import type { BatchItem, DbPoolOptions } from "../src/index.ts";
import { countedWrites, usePostgres } from "./support.ts";

const postgres = usePostgres();

/** Its clients are in pg's own pipeline mode, which leaves no place for a wire: everything goes through pg. */
class Pipelining extends pg.Client {
  constructor(config: pg.ClientConfig) {
    super(config);
    Object.assign(this, { pipeline: true });
  }
}

const WAYS: readonly (readonly [way: string, options: DbPoolOptions])[] = [
  ["by the wire", {}],
  ["by pg", { Client: Pipelining as never }],
];

let tables = 0;

/** An empty table with a unique number, and a way to see what is in it. */
async function freshTable(): Promise<{ table: string; numbers: () => Promise<number[]> }> {
  const table = `batch_${++tables}`;
  await postgres.watch(`create table ${table} (n int primary key, parent int references ${table} deferrable)`);
  const numbers = async (): Promise<number[]> => {
    const { rows } = await postgres.watch(`select n from ${table} order by n`);
    return rows.map(({ n }) => n);
  };
  return { table, numbers };
}

test.each(WAYS)(
  "the results stand in the order of the statements, in whatever form those are given (%s)",
  async (_way, options) => {
    const pool = postgres.pool(options);
    const { table, numbers } = await freshTable();
    const types = { getTypeParser: () => (value: string) => `<${value}>` } as unknown as pg.CustomTypesConfig;
    const batch: BatchItem[] = [
      `insert into ${table} values (1), (2)`,
      [`insert into ${table} values ($1)`, [3]],
      { text: `select n from ${table} where n > $1 order by n`, values: [1] },
      { name: "named", text: "select $1::int as n", values: [5] },
      { text: "select 6 as n", rowMode: "array" },
      { text: "select 7 as n", types },
      [`update ${table} set n = n + 10 where n = $1`, [3]],
      `select n from ${table} where false`,
      ["select $1::int as n", [8]],
      ["select $1::int as n", [9]],
      "",
      "show server_encoding",
    ];
    for (let round = 0; round < 3; round++) {
      const results = await pool.batch(batch);
      const answers = results.map(({ command, rowCount, rows }) => [command, rowCount, rows]);
      expect(answers).toEqual([
        ["INSERT", 2, []],
        ["INSERT", 1, []],
        ["SELECT", 2, [{ n: 2 }, { n: 3 }]],
        ["SELECT", 1, [{ n: 5 }]],
        ["SELECT", 1, [[6]]],
        ["SELECT", 1, [{ n: "<7>" }]],
        ["UPDATE", 1, []],
        ["SELECT", 0, []],
        ["SELECT", 1, [{ n: 8 }]],
        ["SELECT", 1, [{ n: 9 }]],
        [null, null, []],
        ["SHOW", null, [{ server_encoding: "UTF8" }]],
      ]);
      expect(await numbers()).toEqual([1, 2, 13]);
      await postgres.watch(`truncate ${table}`);
    }
  },
);

test("a batch takes one write, and its statements are prepared like any other", async () => {
  const counted = countedWrites();
  const pool = postgres.pool({ maxOpenConns: 1, prepareThreshold: 0, ...counted.options });
  const batch = Array.from({ length: 20 }, (_, n): BatchItem => ["select $1::int as n", [n]]);
  await pool.batch(batch);
  const before = counted.writes;
  for (let round = 0; round < 3; round++) {
    expect((await pool.batch(batch)).map(({ rows }) => rows[0])).toEqual(batch.map((_, n) => ({ n })));
  }
  expect(counted.writes - before).toBe(3);
  const { rows } = await pool.query("select statement from pg_prepared_statements", [], { prepare: false });
  expect(rows).toEqual([{ statement: "select $1::int as n" }]);
  expect(await pool.batch([])).toEqual([]);
  expect(counted.writes - before).toBe(4);
});

test.each(WAYS)(
  "outside of a transaction all of it happens or nothing, and the error says where (%s)",
  async (_way, options) => {
    const pool = postgres.pool({ maxOpenConns: 1, ...options });
    const { table, numbers } = await freshTable();
    const insert = (n: number): BatchItem => [`insert into ${table} values ($1)`, [n]];
    for (let round = 0; round < 4; round++) {
      const failing = pool.batch([insert(1), insert(2), insert(2), insert(3)]);
      await expect(failing).rejects.toMatchObject({ code: "23505", statementIndex: 2 });
      expect(await numbers()).toEqual([]);
    }
    await expect(pool.batch(["select 1", "selekt 2"])).rejects.toMatchObject({ code: "42601", statementIndex: 1 });
    await expect(pool.batch([["select $1::int", ["x"]]])).rejects.toMatchObject({ code: "22P02", statementIndex: 0 });
    await pool.batch([insert(1), insert(2)]);
    expect(await numbers()).toEqual([1, 2]);
    // What fails at the end of it is no statement's.
    const late = pool.batch(["set constraints all deferred", `insert into ${table} values (9, 99)`, "select 1"]);
    const error = (await late.catch((caught: unknown) => caught)) as pg.DatabaseError;
    expect(error.code).toBe("23503");
    expect("statementIndex" in error).toBe(false);
    expect(await numbers()).toEqual([1, 2]);
    expect(pool.getStats()).toMatchObject({ create_count: 1, in_use: 0 });
  },
);

test.each(WAYS)("within a transaction a batch belongs to it (%s)", async (_way, options) => {
  const pool = postgres.pool({ maxOpenConns: 1, ...options });
  const { table, numbers } = await freshTable();
  const insert = (n: number): BatchItem => [`insert into ${table} values ($1)`, [n]];
  await pool.transaction(async (tx) => {
    await tx.batch([insert(1), insert(2)]);
    const savepoint = await tx.savepoint();
    await expect(tx.batch([insert(3), insert(1)])).rejects.toMatchObject({ statementIndex: 1 });
    await savepoint.rollback();
    await tx.batch([insert(4)]);
    expect(await numbers()).toEqual([]);
  });
  expect(await numbers()).toEqual([1, 2, 4]);
  await using conn = await pool.acquire();
  await conn.batch([insert(5), insert(6)]);
  await conn.query("begin");
  await conn.batch([insert(7)]);
  await conn.query("rollback");
  // A batch may hold its own.
  await conn.batch(["begin", insert(8), "commit", "begin", insert(9), "rollback"]);
  expect(await numbers()).toEqual([1, 2, 4, 5, 6, 8]);
});

test("what is no batch is refused before a connection is asked for", async () => {
  const pool = postgres.pool();
  const circular: { self?: unknown } = {};
  circular.self = circular;
  const bad: readonly (readonly [given: unknown, says: string])[] = [
    ["select 1", "batch() takes an array of statements"],
    [undefined, "batch() takes an array of statements"],
    [[undefined], "batch(): item 0 must be SQL text, [text, values] or a config object with text"],
    [[1], "batch(): item 0 must be SQL text, [text, values] or a config object with text"],
    [[[]], "batch(): item 0 must be SQL text, [text, values] or a config object with text"],
    [[["select 1", "values"]], "values must be an array, got a string"],
    [["select 1", ["select $1", [circular]]], "circular"],
    [[["select 1\0"]], "NUL"],
  ];
  for (const [given, says] of bad) await expect(pool.batch(given as BatchItem[])).rejects.toThrow(says);
  await expect(pool.batch(["select 1"], { prepare: false } as never)).rejects.toMatchObject({
    code: "ERR_VG_DB_CONFIG",
  });
  expect(pool.getStats()).toMatchObject({ acquire_count: 0, create_count: 0 });
});

test("a batch that is given up, waiting or running, is rejected at once, and the pool is whole", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const slow = ["select 1", "select count(*) from generate_series(1, 1e9)", "select 2"];
  await expect(pool.batch(slow, { timeoutMs: 50 })).rejects.toMatchObject({ code: "ERR_VG_DB_QUERY_TIMEOUT" });
  expect(await pool.batch(["select 1 as n"])).toMatchObject([{ rows: [{ n: 1 }] }]);
  const conn = await pool.acquire();
  const reason = new Error("the user left");
  await expect(pool.batch(slow, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
  await expect(pool.batch(slow, { timeoutMs: 20 })).rejects.toMatchObject({ code: "ERR_VG_DB_ACQUIRE_TIMEOUT" });
  conn.release();
  expect(await pool.batch(["select 2 as n"])).toMatchObject([{ rows: [{ n: 2 }] }]);
  expect(pool.getStats()).toMatchObject({ in_use: 0, pending: 0 });
});

test("many and large statements in one batch are one exchange like any other", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const large = "é".repeat(300_000);
  const batch = Array.from({ length: 60 }, (_, n): BatchItem => ["select $1::text as t, $2::int as n", [large, n]]);
  const results = await pool.batch(batch);
  expect(results.every(({ rows }, n) => rows[0].t === large && rows[0].n === n)).toBe(true);
  const many = await pool.batch(Array.from({ length: 5_000 }, (_, n) => `select ${n} as n`));
  expect(many.map(({ rows }) => rows[0].n)).toEqual(Array.from({ length: 5_000 }, (_, n) => n));
});
