import { expect, test } from "vitest";
import { LeaseReleasedError } from "../src/index.ts";
import { usePostgres } from "./support.ts";

const postgres = usePostgres();

const outcome = (promise: Promise<unknown>): Promise<unknown> => promise.catch((error: unknown) => error);

test("statements that still wait when their connection is released never run in the next borrower's transaction", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  await pool.exec("create table late (n int)");
  const conn = await pool.acquire();
  const slow = conn.query("select pg_sleep(600)", [], { timeoutMs: 50 });
  const late = [2, 3, 4].map((n) => outcome(conn.exec("insert into late values ($1)", [n])));
  const next = pool.begin();
  await expect(slow).rejects.toMatchObject({ code: "ERR_VG_DB_QUERY_TIMEOUT" });
  conn.release();
  const tx = await next;
  await tx.exec("insert into late values (10)");
  await tx.rollback();
  for (const answer of await Promise.all(late)) expect(answer).toBeInstanceOf(LeaseReleasedError);
  expect(await pool.queryRow("select count(*)::int as n from late")).toEqual({ n: 0 });
});

test("the limit of a statement that waits on a released connection cancels nobody else's query", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const conn = await pool.acquire();
  const first = conn.query("select pg_sleep(600)", [], { timeoutMs: 50 });
  const second = outcome(conn.query("select pg_sleep(600)", [], { timeoutMs: 300 }));
  const stranger = pool.queryRow("select pg_sleep(0.5), 'mine' as whose");
  await expect(first).rejects.toMatchObject({ code: "ERR_VG_DB_QUERY_TIMEOUT" });
  conn.release();
  expect(await stranger).toMatchObject({ whose: "mine" });
  expect(await second).toBeInstanceOf(LeaseReleasedError);
});

test("a statement of a connection runs after those that its borrower sent by pg's own client, and its limit cancels none of them", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const conn = await pool.acquire();
  const slow = conn.client.query("select pg_sleep(0.3), 'slow' as what");
  const set = conn.client.query("set application_name = 'behind'");
  expect(await conn.queryRow("select current_setting('application_name') as name")).toEqual({ name: "behind" });
  expect((await slow).rows).toMatchObject([{ what: "slow" }]);
  await set;
  const other = conn.client.query("select pg_sleep(0.3), 'other' as what");
  await expect(conn.query("select 1", [], { timeoutMs: 50 })).rejects.toThrow("never sent");
  expect((await other).rows).toMatchObject([{ what: "other" }]);
  conn.release();
});
