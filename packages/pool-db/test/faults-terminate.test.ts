import { once } from "node:events";
import pg from "pg";
import { describe, expect, test } from "vitest";
import { ConnectionLostError, type DbPool } from "../src/index.ts";
import { PIPELINING, outcome, useFaults } from "./fault-support.ts";
import { backendPid, until } from "./support.ts";

describe.each(PIPELINING)("%s", (_mode, mode) => {
  const faults = useFaults(mode);

  /** What a caller may be told whose connection was ended by an administrator. */
  const TERMINATED = /^(57P01|ERR_VG_DB_CONNECTION_LOST)$/;

  /** As ErrorResponse (PostgreSQL documentation, 54.7), what the server says at its end. */
  const FATAL = (() => {
    const fields = Buffer.from("SFATAL\0VFATAL\0C57P01\0Mterminating connection due to administrator command\0\0");
    const head = Buffer.from("E\0\0\0\0");
    head.writeInt32BE(fields.length + 4, 1);
    return Buffer.concat([head, fields]);
  })();

  test("when all idle connections are terminated, the pool notices, and the next callers get new ones", async () => {
    const pool = faults.pool({ maxOpenConns: 4, maxIdleConns: 4 });
    await fill(pool, 4);
    expect(await faults.terminate(pool)).toBe(4);
    await until("the pool notices", () => pool.getStats().open_connections === 0);
    const answers = await Promise.all(Array.from({ length: 8 }, (_, n) => pool.queryRow("select $1::int as n", [n])));
    expect(answers).toEqual(Array.from({ length: 8 }, (_, n) => ({ n })));
  });

  test("idle connections that were terminated unnoticed are found out by their check, and no caller fails", async () => {
    const proxy = await faults.proxy();
    const pool = faults.pool({ through: proxy, maxOpenConns: 4, maxIdleConns: 4, validateAfterIdleMs: 0 });
    await fill(pool, 4);
    for (const link of proxy.links) link.toClient.hold();
    expect(await faults.terminate(pool)).toBe(4);
    const answers = Promise.all(Array.from({ length: 8 }, (_, n) => pool.queryRow("select $1::int as n", [n])));
    for (const link of proxy.links) link.toClient.resume();
    expect(await answers).toEqual(Array.from({ length: 8 }, (_, n) => ({ n })));
  });

  test("when the backends of all running queries are terminated, each learns why, and those behind them are served", async () => {
    const pool = faults.pool({ maxOpenConns: 3 });
    const running = Array.from({ length: 3 }, () => outcome(pool.query("select pg_sleep(600)")));
    const behind = Array.from({ length: 5 }, (_, n) => pool.queryRow("select $1::int as n", [n]));
    await faults.running(pool, 3);
    await faults.terminate(pool);
    for (const error of await Promise.all(running)) {
      expect(error).toBeInstanceOf(pg.DatabaseError);
      expect(error).toMatchObject({ code: "57P01" });
    }
    expect(await Promise.all(behind)).toEqual(Array.from({ length: 5 }, (_, n) => ({ n })));
  });

  test("a holder whose idle connection is terminated keeps no place, and its next query says what happened", async () => {
    const pool = faults.pool({ maxOpenConns: 1 });
    const connection = await pool.acquire();
    const client = connection.client;
    await client.query("listen anything");
    await faults.terminate(pool);
    expect(await pool.queryRow("select 1 as n")).toEqual({ n: 1 });
    expect(await outcome(connection.query("select 2 as n"))).toBeInstanceOf(ConnectionLostError);
    expect(await outcome(client.query("select 3 as n"))).toBeInstanceOf(Error);
    connection.release();
  });

  test("a transaction whose backend is terminated between its statements is over, and rolls back quietly", async () => {
    const pool = faults.pool({ maxOpenConns: 1 });
    await pool.exec("create table if not exists interrupted (n int)");
    const tx = await pool.begin();
    await tx.exec("insert into interrupted values (1)");
    await faults.terminate(pool);
    await until("the pool notices", () => pool.getStats().open_connections === 0);
    expect(await outcome(tx.query("select 1"))).toBeInstanceOf(ConnectionLostError);
    await tx.rollback();
    expect(await pool.queryRow("select count(*)::int as n from interrupted")).toEqual({ n: 0 });
  });

  test("a connection that dies under BEGIN costs begin() an error and the pool nothing", async () => {
    const proxy = await faults.proxy();
    const pool = faults.pool({ through: proxy, maxOpenConns: 1, validateAfterIdleMs: Infinity });
    await pool.query("select 1");
    for (const link of proxy.links) link.toClient.hold();
    await faults.terminate(pool);
    const beginning = outcome(pool.begin());
    for (const link of proxy.links) link.toClient.resume();
    expect(((await beginning) as { code: string }).code).toMatch(TERMINATED);
  });

  test("a connection that is terminated while it is rolled back for its next user reaches nobody", async () => {
    const proxy = await faults.proxy();
    const pool = faults.pool({ through: proxy, maxOpenConns: 1 });
    const client = await pool.connect();
    await client.query("begin");
    const pid = await backendPid(client);
    for (const link of proxy.links) link.toServer.hold();
    client.release();
    const next = backendPid(pool);
    expect(pool.getStats()).toMatchObject({ in_use: 1, pending: 1 });
    await faults.terminate(pool);
    expect(await next).not.toBe(pid);
  });

  test("a connection that is terminated before its login is complete is a failed dial, and the next one serves", async () => {
    const proxy = await faults.proxy();
    const pool = faults.pool({ through: proxy, maxOpenConns: 2 });
    const arrived = new Promise<void>((resolve) => {
      proxy.onLink = (link) => {
        proxy.onLink = undefined;
        void link.toClient.stopAt("ReadyForQuery", { keep: 0 }).then(async () => {
          await faults.terminate(pool);
          link.close();
          resolve();
        });
      };
    });
    const first = outcome(pool.queryRow("select 1 as n"));
    await arrived;
    await first;
    expect(await pool.queryRow("select 2 as n")).toEqual({ n: 2 });
    expect(pool.getStats().create_error_count).toBe(1);
  });

  test("a FATAL error right behind an answer is told to that query, and to nobody else", async () => {
    const proxy = await faults.proxy();
    const pool = faults.pool({ through: proxy, maxOpenConns: 1 });
    await pool.query("select 1");
    const [link] = proxy.links;
    const stopped = link?.toClient.stopAt("ReadyForQuery", { keep: 0 }).then(() => {
      link.toClient.inject(FATAL);
      link.close();
    });
    const told = outcome(pool.query("select 1"));
    const next = pool.acquire();
    await stopped;
    expect(((await told) as { code: string }).code).toMatch(TERMINATED);
    const connection = await next;
    expect(await connection.queryRow("select 2 as n")).toEqual({ n: 2 });
    connection.release();
  });

  test("a submitted query whose backend is terminated hears of it, and its place is free", async () => {
    const pool = faults.pool({ maxOpenConns: 1 });
    const query = pool.query(new pg.Query("select pg_sleep(600)"));
    const failed = once(query, "end").catch((error: unknown) => error);
    await faults.running(pool, 1);
    await faults.terminate(pool);
    expect(await failed).toMatchObject({ code: "57P01" });
    expect(await pool.queryRow("select 1 as n")).toEqual({ n: 1 });
  });

  test("while backends are terminated at random, every caller gets its own answer or learns that it was interrupted", async () => {
    const pool = faults.pool({ maxOpenConns: 6 });
    let interrupted = 0;
    let answered = 0;
    const end = new AbortController();
    const caller = async (id: number): Promise<void> => {
      for (let n = 0; n < 60; n++) {
        const value = id * 1_000 + n;
        const text = "select $1::int as n, count(*)::int as rows from generate_series(1, 4000)";
        const answer = await outcome(pool.queryRow(text, [value]));
        if (answer instanceof Error) {
          // A dial may be hit as well; with nothing else open, the callers that wait are told.
          expect((answer as Error & { code: string }).code).toMatch(
            /^(57P01|ERR_VG_DB_CONNECTION_LOST|ERR_VG_DB_CONNECT)$/,
          );
          interrupted++;
        } else {
          expect(answer).toEqual({ n: value, rows: 4_000 });
          answered++;
        }
      }
    };
    const killing = (async () => {
      while (!end.signal.aborted) await faults.terminate(pool);
    })();
    await Promise.all(Array.from({ length: 20 }, (_, id) => caller(id)));
    end.abort();
    await killing;
    expect(interrupted + answered).toBe(1_200);
    expect(interrupted).toBeGreaterThan(0);
  });

  /** Opens so many connections, and leaves them free. */
  async function fill(pool: DbPool, count: number): Promise<void> {
    const connections = await Promise.all(Array.from({ length: count }, () => pool.acquire()));
    for (const connection of connections) connection.release();
  }
});
