import type pg from "pg";
import { expectTypeOf, test } from "vitest";
import type { BatchItem, DbConnection, DbPool, QueryConfig, Tx } from "../src/index.ts";

/** Compiled, never called: what the types accept and give. */
export async function uses(pool: DbPool, conn: DbConnection, tx: Tx, signal: AbortSignal): Promise<void> {
  const values: readonly number[] = [1];
  const config = { name: "by-id", text: "select $1::int", values: [1] };
  const fixed = { text: "select $1::int", values: [1], query_timeout: 5 } as const;
  expectTypeOf(await pool.query<{ n: number }>("select $1", values)).toEqualTypeOf<pg.QueryResult<{ n: number }>>();
  expectTypeOf(await pool.query<{ n: number }>(fixed)).toEqualTypeOf<pg.QueryResult<{ n: number }>>();
  expectTypeOf(await pool.query(fixed, undefined, { signal })).toEqualTypeOf<pg.QueryResult>();
  expectTypeOf(await pool.query({ text: "x", rowMode: "array" })).toEqualTypeOf<pg.QueryArrayResult>();
  expectTypeOf(await pool.query({ text: "x", rowMode: "array" } as const)).toEqualTypeOf<pg.QueryArrayResult>();
  for (const on of [pool, conn, tx]) {
    expectTypeOf(await on.queryRow<{ n: number }>(config)).toEqualTypeOf<{ n: number } | undefined>();
    expectTypeOf(await on.exec(fixed, values, { signal, timeoutMs: 5 })).toEqualTypeOf<number>();
  }
  expectTypeOf(await conn.query(config, values)).toEqualTypeOf<pg.QueryResult<pg.QueryResultRow>>();
  expectTypeOf(await tx.query(config)).toEqualTypeOf<pg.QueryResult<pg.QueryResultRow>>();
  for (const on of [pool, conn, tx]) {
    const [users, count] = await on.batch(["select 1", ["select $1", [1]]]);
    expectTypeOf(users).toEqualTypeOf<pg.QueryResult>();
    expectTypeOf(count.rowCount).toEqualTypeOf<number | null>();
    expectTypeOf(await on.batch([] as BatchItem[])).toEqualTypeOf<pg.QueryResult[]>();
  }
  // @ts-expect-error -- a nested transaction has no options
  await tx.transaction(async () => undefined, { timeoutMs: 5 });
  // @ts-expect-error -- a misspelt option
  await pool.begin({ readonly: true });
  // @ts-expect-error -- a misspelt limit
  await pool.query("select 1", [], { timeout: 5 });
  // @ts-expect-error -- values are an array
  await tx.query("select 1", { timeoutMs: 5 });
}

test("a DbPool is a pg.Pool to the compiler, with pg's config objects and its own", () => {
  expectTypeOf<DbPool>().toExtend<pg.Pool>();
  expectTypeOf<pg.QueryConfig>().toExtend<QueryConfig>();
});
