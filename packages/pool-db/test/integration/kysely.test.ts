import { Kysely, PostgresDialect, sql, type Generated } from "kysely";
import pg from "pg";
import Cursor from "pg-cursor";
import { expect, test, vi } from "vitest";
import type { DbPool } from "../../src/index.ts";
import { until } from "../support.ts";
import { useLibrary } from "./support.ts";

const library = useLibrary("kysely");

interface Database {
  person: { id: Generated<number>; name: string; tags: string[] };
}

async function open(pool: DbPool): Promise<Kysely<Database>> {
  const db = new Kysely<Database>({ dialect: new PostgresDialect({ pool, cursor: Cursor, controlClient: pg.Client }) });
  await db.schema.dropTable("person").ifExists().execute();
  await db.schema
    .createTable("person")
    .addColumn("id", "serial", (column) => column.primaryKey())
    .addColumn("name", "text", (column) => column.notNull().unique())
    .addColumn("tags", sql`text[]`)
    .execute();
  return db;
}

const named = (name: string): { name: string; tags: string[] } => ({ name, tags: [name[0] ?? ""] });

test("kysely: schema, rows, a failing statement", async () => {
  const pool = library.pool();
  const db = await open(pool);
  await db
    .insertInto("person")
    .values([named("Ada"), named("Bob")])
    .execute();
  const { numUpdatedRows } = await db
    .updateTable("person")
    .set({ name: "Eve" })
    .where("name", "=", "Bob")
    .executeTakeFirst();
  expect(numUpdatedRows).toBe(1n);
  await expect(db.insertInto("person").values(named("Ada")).execute()).rejects.toMatchObject({ code: "23505" });
  expect(await db.deleteFrom("person").where("name", "=", "Eve").executeTakeFirst()).toMatchObject({
    numDeletedRows: 1n,
  });
  expect(await db.selectFrom("person").select(["name", "tags"]).execute()).toEqual([{ name: "Ada", tags: ["A"] }]);
  expect(pool.getStats()).toMatchObject({ create_count: 1, broken_closed: 0, dirty_closed: 0 });
  await library.whole(pool);
});

test("kysely: transactions that commit, roll back, and return to a savepoint", async () => {
  const pool = library.pool();
  const db = await open(pool);
  await db
    .transaction()
    .setIsolationLevel("serializable")
    .execute(async (tx) => {
      await tx.insertInto("person").values(named("committed")).execute();
    });
  const failure = db.transaction().execute(async (tx) => {
    await tx.insertInto("person").values(named("rolled back")).execute();
    await tx.insertInto("person").values(named("committed")).execute();
  });
  await expect(failure).rejects.toMatchObject({ code: "23505" });
  const controlled = await db.startTransaction().execute();
  const before = await controlled.savepoint("before").execute();
  await before.insertInto("person").values(named("undone")).execute();
  await before.rollbackToSavepoint("before").execute();
  await controlled.insertInto("person").values(named("kept")).execute();
  await controlled.commit().execute();
  const { rows } = await pool.query("select name from person order by name");
  expect(rows).toEqual([{ name: "committed" }, { name: "kept" }]);
  await library.whole(pool);
});

test("kysely: rows are streamed by a cursor, to the end and to an early stop", async () => {
  const pool = library.pool({ maxOpenConns: 1 });
  const db = await open(pool);
  const numbers = sql<{ n: number }>`select generate_series(1, 1000) as n`.compile(db);
  const streamed = async (stopAfter: number): Promise<number> => {
    let count = 0;
    for await (const _row of db.getExecutor().stream<{ n: number }>(numbers, 100)) if (++count === stopAfter) break;
    return count;
  };
  expect(await streamed(Infinity)).toBe(10);
  expect(await streamed(2)).toBe(2);
  await db.insertInto("person").values(named("afterwards")).execute();
  expect(pool.getStats()).toMatchObject({ create_count: 1 });
  await library.whole(pool);
});

test("kysely: an aborted query is cancelled on the server, or its session is ended", async () => {
  const pool = library.pool();
  const db = await open(pool);
  const log = vi.spyOn(console, "error").mockReturnValue(undefined);
  for (const inflightQueryAbortStrategy of ["cancel query", "kill session"] as const) {
    const slow = sql`select pg_sleep(60)`.execute(db, { signal: AbortSignal.timeout(50), inflightQueryAbortStrategy });
    await expect(slow).rejects.toMatchObject({ name: "TimeoutError" });
  }
  await until("kysely has told of both", () => log.mock.calls.length === 2);
  log.mockRestore();
  expect(await sql`select 1 as n`.execute(db)).toMatchObject({ rows: [{ n: 1 }] });
  await library.whole(pool);
});

test("kysely: destroy ends the pool, and what comes later is refused", async () => {
  const pool = library.pool();
  const db = await open(pool);
  await db.destroy();
  expect(pool.ended).toBe(true);
  await expect(db.selectFrom("person").selectAll().execute()).rejects.toThrow();
  await expect(pool.query("select 1")).rejects.toMatchObject({ code: "ERR_VG_DB_POOL_CLOSED" });
});
