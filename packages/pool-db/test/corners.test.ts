import { expect, test } from "vitest";
import { nameFor } from "../src/query/statement-name.ts";
import { backendPid, until, usePostgres } from "./support.ts";

const postgres = usePostgres();

const outcome = (promise: Promise<unknown>): Promise<unknown> => promise.catch((error: unknown) => error);

test("a fatal error ends all that share the connection, also where the server never closes it", async () => {
  const pool = postgres.pool({ maxOpenConns: 1, pipeline: true });
  const pid = await backendPid(pool);
  const slow = "select count(*)::int as n from generate_series(1, 3000000)";
  const running = [slow, slow, slow].map((text) => outcome(pool.query(text)));
  await until("the first one runs", async () => {
    const { rows } = await postgres.watch("select 1 from pg_stat_activity where pid = $1 and state = 'active'", [pid]);
    return rows.length === 1;
  });
  await postgres.watch("select pg_terminate_backend($1)", [pid]);
  expect(await Promise.all(running)).toMatchObject([
    { code: "57P01" },
    { code: "ERR_VG_DB_CONNECTION_LOST" },
    { code: "ERR_VG_DB_CONNECTION_LOST" },
  ]);
});

test("minIdleConns stay beyond connMaxIdleTimeMs, and are lent after a check", async () => {
  const pool = postgres.pool({ minIdleConns: 2, maxIdleConns: 2, connMaxIdleTimeMs: 60, validateAfterIdleMs: 20 });
  await pool.warm(2);
  const { create_count } = pool.getStats();
  const since = performance.now();
  await until("they have been idle for longer", () => performance.now() - since > 200);
  await pool.query("select 1");
  expect(pool.getStats()).toMatchObject({ max_idle_time_closed: 0, create_count });
});

test("what the server says of a value stands in the cause of an error, not in its message", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const tx = await pool.begin();
  await outcome(tx.query("select $1::int", ["SECRET"]));
  const error = (await outcome(tx.commit())) as Error;
  expect(error).toMatchObject({ code: "ERR_VG_DB_TRANSACTION_ABORTED", cause: { code: "22P02" } });
  expect(error.message).toContain("SQLSTATE 22P02");
  expect(error.message).not.toContain("SECRET");
});

test("connect() with neither a callback nor nothing is refused before it takes a connection", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  await pool.query("select 1");
  expect(() => pool.connect(5 as never)).toThrow("connect() takes a callback or nothing, got 5");
  const client = await (pool.connect(null as never) as unknown as Promise<{ release(): void }>);
  client.release();
  expect(pool.getStats()).toMatchObject({ in_use: 0 });
});

test("a hook that never ends costs a failed dial and leaves no client behind", async () => {
  const pool = postgres.pool({
    maxOpenConns: 1,
    connectTimeoutMs: 100,
    onConnect: () => new Promise<void>(() => undefined),
  });
  expect(await outcome(pool.query("select 1"))).toMatchObject({ code: "ERR_VG_DB_CONNECT" });
  expect((pool as unknown as { _clients: unknown[] })._clients).toEqual([]);
  expect(pool.getStats()).toMatchObject({ open_connections: 0, connecting: 0 });
});

test("names that the user has prepared by hand do not keep the pool from preparing", async () => {
  const pool = postgres.pool({ maxOpenConns: 1, transactionPooler: false, prepareThreshold: 0 });
  const text = "select $1::int as n";
  for (const taken of ["select 1", "select 2"]) await pool.query(`prepare "${nameFor(taken)}" as select 0`);
  for (const taken of ["select 1", "select 2"]) await pool.query(taken);
  for (let n = 0; n < 4; n++) await pool.query(text, [n]);
  expect(pool.getStats().statement_hit_count).toBe(3);
});
