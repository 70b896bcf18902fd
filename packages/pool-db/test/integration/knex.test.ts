import knex, { type Knex } from "knex";
import { expect, test } from "vitest";
import type { DbPool } from "../../src/index.ts";
import { useLibrary } from "./support.ts";

const library = useLibrary("knex");

// No stream: knex 3.3 releases its connection twice, which throws at pg.Pool as well.

async function open(pool: DbPool): Promise<Knex> {
  const db = knex({ client: "pg", connectionPool: pool });
  await db.schema.dropTableIfExists("book");
  await db.schema.createTable("book", (table) => {
    table.increments("id");
    table.string("title").notNullable().unique();
    table.jsonb("meta");
  });
  return db;
}

test("knex: schema, rows, a failing statement", async () => {
  const pool = library.pool();
  const db = await open(pool);
  expect(
    await db("book")
      .insert([{ title: "A", meta: { pages: 7 } }, { title: "B" }])
      .returning("id"),
  ).toEqual([{ id: 1 }, { id: 2 }]);
  expect(await db("book").where({ title: "A" }).first()).toEqual({ id: 1, title: "A", meta: { pages: 7 } });
  await expect(db("book").insert({ title: "A" })).rejects.toMatchObject({ code: "23505" });
  expect(await db("book").where("id", 2).update({ title: "C" })).toBe(1);
  expect((await db.raw<{ rows: unknown[] }>("select ?::int as n", [5])).rows).toEqual([{ n: 5 }]);
  expect(await db("book").del()).toBe(2);
  expect(pool.getStats()).toMatchObject({ create_count: 1, broken_closed: 0, dirty_closed: 0 });
  await db.destroy();
  expect(pool.ended).toBe(false);
  await library.whole(pool);
});

test("knex: transactions that commit, roll back and nest", async () => {
  const pool = library.pool();
  const db = await open(pool);
  await db.transaction(async (tx) => {
    await tx("book").insert({ title: "kept" });
    const nested = tx.transaction(async (inner) => {
      await inner("book").insert({ title: "undone" });
      await inner("book").insert({ title: "kept" });
    });
    await expect(nested).rejects.toMatchObject({ code: "23505" });
    await tx("book").insert({ title: "kept as well" });
  });
  const undone = db.transaction(async (tx) => {
    await tx("book").insert({ title: "never" });
    throw new Error("changed my mind");
  });
  await expect(undone).rejects.toThrow("changed my mind");
  const forgotten = await db.transaction();
  await forgotten("book").insert({ title: "never either" });
  await forgotten.rollback();
  expect(await db("book").pluck("title").orderBy("title")).toEqual(["kept", "kept as well"]);
  await db.destroy();
  await library.whole(pool);
});
