import { afterAll, describe, expect, test } from "vitest";
import type { DbPool, DbPoolOptions } from "../src/index.ts";
import { carriesStatements, pgBouncerVersion, startPgBouncer, type PgBouncer } from "./pgbouncer.ts";
import { usePostgres } from "./support.ts";

const postgres = usePostgres();
const started: PgBouncer[] = [];
afterAll(async () => {
  await Promise.all(started.map((bouncer) => bouncer.stop()));
});

async function behind(
  bouncer: Parameters<typeof startPgBouncer>[1],
  options: DbPoolOptions = {},
): Promise<{ pool: DbPool; logged: string[] }> {
  const { dsn, stop } = await startPgBouncer(postgres.server, bouncer);
  const logged: string[] = [];
  const log = (_fields: object, message: string): number => logged.push(message);
  const pool = postgres.pool({
    dsn,
    maxOpenConns: 20,
    logger: { debug: () => undefined, info: log, warn: log, error: log },
    ...options,
  });
  started.push({ dsn, stop: () => pool.destroy().then(stop) });
  return { pool, logged };
}

/** Everything that could rely on a session, from many callers at once. Any error of theirs is one of this. */
async function useHard(pool: DbPool): Promise<void> {
  await pool.exec("create table if not exists hard (n int)");
  for (let round = 0; round < 6; round++) {
    const calls = Array.from({ length: 60 }, async (_, n) => {
      const text = `select $1::int + ${n % 5} as n`;
      const expected = { n: n + (n % 5) };
      if (n % 6 === 0) expect(await pool.queryRow({ name: `named ${n % 5}`, text }, [n])).toEqual(expected);
      else if (n % 6 === 1) {
        const [first, , third] = await pool.batch([[text, [n]], "insert into hard values (1)", [text, [n]]]);
        expect([first?.rows, third?.rows]).toEqual([[expected], [expected]]);
      } else if (n % 6 === 2) {
        const rows = await pool.transaction(async (tx) => {
          const [row] = (await tx.query(text, [n])).rows;
          const named = await tx.queryRow({ name: `named ${n % 5}`, text }, [n]);
          return [row, named, await tx.queryRow(text, [n])];
        });
        expect(rows).toEqual([expected, expected, expected]);
      } else if (n % 6 === 3) {
        await expect(pool.query("select 1 / ($1::int - $1::int)", [n])).rejects.toMatchObject({ code: "22012" });
      } else expect(await pool.queryRow(text, [n])).toEqual(expected);
    });
    await Promise.all(calls);
  }
  expect(pool.getStats()).toMatchObject({ in_use: 0, pending: 0, broken_closed: 0, dirty_closed: 0 });
}

/** What is prepared in the sessions behind it, but for what a user had named before it was found out. */
async function preparedBehind(pool: DbPool): Promise<unknown[]> {
  const text = "select name from pg_prepared_statements where name not like 'named %'";
  const results = await Promise.all(Array.from({ length: 10 }, () => pool.query(text)));
  return results.flatMap(({ rows }) => rows);
}

const FOUND = "a transaction pooler was found: statements are neither prepared nor pipelined by themselves";

describe.skipIf(pgBouncerVersion === undefined)("behind PgBouncer (skipped without pgbouncer on the PATH)", () => {
  test("in transaction mode it is found out, and twenty connections over two sessions serve everybody", async () => {
    const { pool, logged } = await behind({ mode: "transaction", size: 2 });
    await useHard(pool);
    expect(logged.filter((message) => message === FOUND)).toHaveLength(1);
    expect(await preparedBehind(pool)).toEqual([]);
  });

  test("declared, it is not asked for, and nothing is prepared or shared", async () => {
    const { pool, logged } = await behind(
      { mode: "transaction", size: 2 },
      { transactionPooler: true, pipeline: true, maxOpenConns: 4 },
    );
    await useHard(pool);
    expect(logged).toEqual([]);
    expect(await preparedBehind(pool)).toEqual([]);
    expect(pool.getStats().pipelined_count).toBe(0);
  });

  test("with pipelining asked for, it is found out before anything is shared", async () => {
    const { pool, logged } = await behind({ mode: "transaction", size: 2 }, { pipeline: true, maxOpenConns: 4 });
    await useHard(pool);
    expect(logged).toEqual([FOUND]);
    expect(pool.getStats().pipelined_count).toBe(0);
    expect(await preparedBehind(pool)).toEqual([]);
  });

  test("in session mode everything works; that it is taken for the other mode costs only speed", async () => {
    const { pool } = await behind({ mode: "session", size: 5 }, { maxOpenConns: 5 });
    await useHard(pool);
  });

  test.skipIf(!carriesStatements)(
    "declared not to be there, it costs nobody an error if it carries prepared statements",
    async () => {
      const { pool } = await behind({ mode: "transaction", size: 2, statements: 100 }, { transactionPooler: false });
      await useHard(pool);
    },
  );

  test("declared not to be there while it is, texts that the pool prepares by itself still cost nobody an error", async () => {
    const { pool } = await behind({ mode: "transaction", size: 2 }, { transactionPooler: false });
    for (let round = 0; round < 6; round++) {
      const calls = Array.from({ length: 60 }, (_, n) => pool.queryRow(`select $1::int + ${n % 5} as n`, [n]));
      expect(await Promise.all(calls)).toEqual(calls.map((_, n) => ({ n: n + (n % 5) })));
    }
  });

  test("a query that is given up is cancelled through it, and its connection goes on", async () => {
    const { pool } = await behind({ mode: "transaction", size: 2 }, { maxOpenConns: 1 });
    const slow = pool.query("select count(*) from generate_series(1, 1e9)", [], { timeoutMs: 50 });
    await expect(slow).rejects.toMatchObject({ code: "ERR_VG_DB_QUERY_TIMEOUT" });
    expect(await pool.queryRow("select 1 as n")).toEqual({ n: 1 });
    const busy =
      "select 1 from pg_stat_activity where query like '%1e9%' and state = 'active' and pid <> pg_backend_pid()";
    expect((await postgres.watch(busy)).rowCount).toBe(0);
  });
});
