import { eq, sql } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import { integer, jsonb, numeric, pgTable, serial, text, timestamp } from "drizzle-orm/pg-core";
import { expect, test } from "vitest";
import type { DbPool } from "../../src/index.ts";
import { useLibrary } from "./support.ts";

const library = useLibrary("drizzle-orm");

const account = pgTable("account", {
  id: serial("id").primaryKey(),
  owner: text("owner").notNull().unique(),
  cents: integer("cents").notNull(),
  rate: numeric("rate"),
  notes: jsonb("notes"),
  since: timestamp("since", { mode: "date" }),
});

async function open(pool: DbPool) {
  const db = drizzle(pool, { schema: { account } });
  await db.execute(sql`drop table if exists account`);
  await db.execute(sql`
    create table account (
      id serial primary key, owner text not null unique, cents int not null check (cents >= 0),
      rate numeric, notes jsonb, since timestamp)`);
  return db;
}

test("drizzle: rows of all sorts of types, relational queries, prepared queries, a failing statement", async () => {
  const pool = library.pool();
  const db = await open(pool);
  const since = new Date("2026-01-02T03:04:05.678Z");
  const rows = await db
    .insert(account)
    .values([
      { owner: "Ada", cents: 100, rate: "0.125", notes: { vip: true }, since },
      { owner: "Bob", cents: 50 },
    ])
    .returning({ id: account.id });
  expect(rows).toEqual([{ id: 1 }, { id: 2 }]);
  expect(await db.query.account.findFirst({ where: eq(account.owner, "Ada") })).toEqual({
    id: 1,
    owner: "Ada",
    cents: 100,
    rate: "0.125",
    notes: { vip: true },
    since,
  });
  const centsOf = db
    .select({ cents: account.cents })
    .from(account)
    .where(eq(account.owner, sql.placeholder("owner")))
    .prepare("cents_of");
  expect(await centsOf.execute({ owner: "Bob" })).toEqual([{ cents: 50 }]);
  expect(await centsOf.execute({ owner: "Ada" })).toEqual([{ cents: 100 }]);
  await expect(db.insert(account).values({ owner: "Ada", cents: 1 })).rejects.toMatchObject({
    cause: { code: "23505" },
  });
  expect((await db.delete(account).where(eq(account.owner, "Bob"))).rowCount).toBe(1);
  expect(pool.getStats()).toMatchObject({ create_count: 1, broken_closed: 0, dirty_closed: 0 });
  await library.whole(pool);
});

test("drizzle: a transaction is one on a connection of its own, also among many", async () => {
  const pool = library.pool();
  const db = await open(pool);
  await db.insert(account).values({ owner: "bank", cents: 1_000 });
  const transfers = Array.from({ length: 20 }, (_, i) =>
    db.transaction(async (tx) => {
      const [before] = await tx.select().from(account).where(eq(account.owner, "bank")).for("update");
      await tx
        .update(account)
        .set({ cents: (before?.cents ?? 0) - 10 })
        .where(eq(account.owner, "bank"));
      await tx.insert(account).values({ owner: `customer ${i}`, cents: 10 });
      if (i % 2 === 1) tx.rollback();
    }),
  );
  const outcomes = await Promise.allSettled(transfers);
  expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(10);
  expect(await db.$count(account)).toBe(11);
  expect(await db.query.account.findFirst({ where: eq(account.owner, "bank") })).toMatchObject({ cents: 900 });
  await library.whole(pool);
});

test("drizzle: a nested transaction is a savepoint, and a failed COMMIT gives its connection back", async () => {
  const pool = library.pool({ maxOpenConns: 1 });
  const db = await open(pool);
  await db.transaction(async (tx) => {
    await tx.insert(account).values({ owner: "outer", cents: 1 });
    const inner = tx.transaction(async (nested) => {
      await nested.insert(account).values({ owner: "inner", cents: -1 });
    });
    await expect(inner).rejects.toMatchObject({ cause: { code: "23514" } });
    await tx.insert(account).values({ owner: "after", cents: 1 });
  });
  await db.execute(
    sql`create table deferred (id int primary key, parent int references deferred deferrable initially deferred)`,
  );
  const orphan = db.transaction(async (tx) => void (await tx.execute(sql`insert into deferred values (1, 7)`)));
  await expect(orphan).rejects.toMatchObject({ cause: { code: "23503" } });
  expect(await db.select({ owner: account.owner }).from(account)).toEqual([{ owner: "outer" }, { owner: "after" }]);
  await library.whole(pool);
});

test("drizzle: a connection that dies before BEGIN costs the pool no slot", async () => {
  const pool = library.pool({ maxOpenConns: 1, validateAfterIdleMs: Infinity });
  const db = await open(pool);
  for (let i = 0; i < 3; i++) {
    // Drizzle does not release a client whose BEGIN failed.
    const doomed = db.transaction(
      async (tx) => void (await tx.execute(sql`select pg_terminate_backend(pg_backend_pid())`)),
    );
    await expect(doomed).rejects.toThrow();
  }
  expect(await db.$count(account)).toBe(0);
  await library.whole(pool);
});
