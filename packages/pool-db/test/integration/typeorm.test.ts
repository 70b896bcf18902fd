import pg from "pg";
import QueryStream from "pg-query-stream";
import { DataSource, EntitySchema, QueryFailedError } from "typeorm";
import { expect, test } from "vitest";
import { DbPool } from "../../src/index.ts";
import { useLibrary } from "./support.ts";

const library = useLibrary("typeorm");

interface Plant {
  id: number;
  name: string;
  height: number | null;
}

const Plants = new EntitySchema<Plant>({
  name: "plant",
  columns: {
    id: { type: Number, primary: true, generated: true },
    name: { type: String, unique: true },
    height: { type: "float", nullable: true },
  },
});

/** TypeORM makes its pool itself, so it gets the class; `made` catches the pool. */
async function open(): Promise<{ source: DataSource; pool: DbPool }> {
  const made: DbPool[] = [];
  class Pool extends DbPool {
    constructor(options: ConstructorParameters<typeof DbPool>[0]) {
      super(options);
      made.push(this);
    }
  }
  const source = new DataSource({
    type: "postgres",
    driver: { ...pg, Pool },
    url: library.dsn,
    applicationName: "typeorm",
    poolSize: 4,
    entities: [Plants],
    synchronize: true,
    dropSchema: true,
    nativeDriver: undefined,
    extra: { maxIdleConns: 2, maxIdleTrimDelayMs: 0 },
  });
  await source.initialize();
  const [pool] = made;
  if (pool === undefined || made.length > 1) throw new Error(`TypeORM made ${made.length} pools`);
  return { source, pool };
}

test("typeorm: its pool is ours, with its options; schema, rows, a failing statement", async () => {
  const { source, pool } = await open();
  expect(pool.getStats()).toMatchObject({ max_open_connections: 4 });
  const plants = source.getRepository(Plants);
  await plants.save([{ name: "fern", height: 0.5 }, { name: "oak" }]);
  expect(await plants.find({ order: { id: "ASC" } })).toEqual([
    { id: 1, name: "fern", height: 0.5 },
    { id: 2, name: "oak", height: null },
  ]);
  await expect(plants.insert({ name: "oak" })).rejects.toThrow(QueryFailedError);
  expect((await plants.update({ name: "oak" }, { height: 20 })).affected).toBe(1);
  expect((await plants.delete({ name: "fern" })).affected).toBe(1);
  expect(await Promise.all(Array.from({ length: 20 }, () => plants.count()))).toEqual(
    Array.from({ length: 20 }, () => 1),
  );
  await source.destroy();
  expect(pool.ended).toBe(true);
  await library.whole(pool);
});

test("typeorm: transactions, savepoints, a query runner of one's own, a stream", async () => {
  const { source, pool } = await open();
  await source.transaction("SERIALIZABLE", async (manager) => {
    await manager.insert(Plants, { name: "kept" });
    const nested = manager.transaction(async (inner) => {
      await inner.insert(Plants, { name: "undone" });
      await inner.insert(Plants, { name: "kept" });
    });
    await expect(nested).rejects.toThrow(QueryFailedError);
    await manager.insert(Plants, { name: "kept as well" });
  });
  const runner = source.createQueryRunner();
  await runner.startTransaction();
  await runner.manager.insert(Plants, { name: "never" });
  await runner.rollbackTransaction();
  const stream = await runner.stream("select generate_series(1, 300) as n");
  expect(stream).toBeInstanceOf(QueryStream);
  let count = 0;
  for await (const _row of stream) count++;
  expect(count).toBe(300);
  await runner.release();
  const left = source.createQueryRunner();
  await left.startTransaction();
  await left.manager.insert(Plants, { name: "never either" });
  await left.release();
  const names = (await source.getRepository(Plants).find({ order: { id: "ASC" } })).map(({ name }) => name);
  expect(names).toEqual(["kept", "kept as well"]);
  await source.destroy();
  await library.whole(pool);
});
