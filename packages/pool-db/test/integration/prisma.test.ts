/** Prisma's driver adapter, as its client calls it: a generated client would need a build step and adds no statement. */
import { PrismaPg } from "@prisma/adapter-pg";
import { expect, test } from "vitest";
import { until } from "../support.ts";
import { useLibrary } from "./support.ts";

const library = useLibrary("prisma");

type Adapter = Awaited<ReturnType<PrismaPg["connect"]>>;
type Query = Parameters<Adapter["queryRaw"]>[0];

const sql = (text: string, ...args: number[]): Query => ({
  sql: text,
  args,
  argTypes: args.map(() => ({ scalarType: "int", arity: "scalar" })),
});

test("prisma: the adapter takes the pool itself, and runs scripts, queries and commands on it", async () => {
  const pool = library.pool();
  const adapter = await new PrismaPg(pool).connect();
  expect(adapter.underlyingDriver()).toBe(pool);
  await adapter.executeScript("create table item (id int primary key, label text); insert into item values (1, 'one')");
  expect(await adapter.executeRaw(sql("insert into item values ($1, 'two'), ($2, 'three')", 2, 3))).toBe(2);
  expect(await adapter.queryRaw(sql("select id, label from item where id >= $1 order by id", 2))).toMatchObject({
    columnNames: ["id", "label"],
    rows: [
      [2, "two"],
      [3, "three"],
    ],
  });
  await expect(adapter.executeRaw(sql("insert into item values ($1, 'again')", 1))).rejects.toMatchObject({
    cause: { kind: "UniqueConstraintViolation" },
  });
  await adapter.dispose();
  expect(pool.ended).toBe(false);
  expect(pool.getStats()).toMatchObject({ create_count: 1, broken_closed: 0, dirty_closed: 0 });
  await library.whole(pool);
});

test("prisma: transactions that commit, roll back and return to a savepoint", async () => {
  const pool = library.pool();
  const adapter = await new PrismaPg(pool, { statementNameGenerator: ({ sql: text }) => `p${text.length}` }).connect();
  await adapter.executeScript("create table kept (n int primary key)");
  const insert = (n: number): Query => sql("insert into kept values ($1)", n);
  const committed = await adapter.startTransaction("SERIALIZABLE");
  await committed.executeRaw(insert(1));
  await committed.executeRaw(sql("savepoint s"));
  await expect(committed.executeRaw(insert(1))).rejects.toMatchObject({ cause: { kind: "UniqueConstraintViolation" } });
  await committed.executeRaw(sql("rollback to savepoint s"));
  await committed.executeRaw(sql("commit"));
  await committed.commit();
  const undone = await adapter.startTransaction();
  await undone.executeRaw(insert(2));
  await undone.executeRaw(sql("rollback"));
  await undone.rollback();
  // A client that crashes between the two: the pool rolls back what was left open.
  const left = await adapter.startTransaction();
  await left.executeRaw(insert(3));
  await left.commit();
  await until("it is clean", () => pool.getStats().in_use === 0);
  expect((await adapter.queryRaw(sql("select n from kept"))).rows).toEqual([[1]]);
  await library.whole(pool);
});

test("prisma: a pool is disposed of with its adapter where that is asked for", async () => {
  const pool = library.pool();
  const adapter = await new PrismaPg(pool, { disposeExternalPool: true }).connect();
  await adapter.queryRaw(sql("select 1"));
  await adapter.dispose();
  expect(pool.ended).toBe(true);
});
