import pg from "pg";
import { describe, expect, test } from "vitest";
import type { DbPool } from "../src/index.ts";
import { PIPELINING, outcome, useFaults } from "./fault-support.ts";
import { backendPid, until } from "./support.ts";

describe.each(PIPELINING)("%s", (_mode, mode) => {
  const faults = useFaults(mode, { max_connections: "8", superuser_reserved_connections: "3" });

  const LIMIT = 8 - 3;
  const FULL = "remaining connection slots are reserved";

  /** What a caller may be told while a server crashes, is down, or comes up. */
  const OUTAGE = /^(57P0[1-3]|ERR_VG_DB_(CONNECTION_LOST|CONNECT|ACQUIRE_TIMEOUT|QUERY_TIMEOUT))$/;

  interface Load {
    answered: number;
    readonly refused: Map<string, number>;
    stop(): Promise<void>;
  }

  /** Callers that query without a pause and check every answer. */
  function load(pool: DbPool, callers: number): Load {
    const end = new AbortController();
    const figures = { answered: 0, refused: new Map<string, number>() };
    const call = async (id: number): Promise<void> => {
      for (let n = 0; !end.signal.aborted; n++) {
        // Those with a limit of their own share no connection.
        const limits = n % 2 === 0 ? { timeoutMs: 2_000 } : {};
        const answer = await outcome(pool.queryRow("select $1::text as n", [`${id}/${n}`], limits));
        if (answer instanceof Error) {
          const { code } = answer as Error & { code: string };
          if (!OUTAGE.test(code)) throw answer;
          figures.refused.set(code, (figures.refused.get(code) ?? 0) + 1);
        } else {
          expect(answer).toEqual({ n: `${id}/${n}` });
          figures.answered++;
        }
      }
    };
    const ended = Promise.all(Array.from({ length: callers }, (_, id) => call(id)));
    return Object.assign(figures, {
      async stop() {
        end.abort();
        await ended;
      },
    });
  }

  /** The load is served again. */
  async function flows(figures: Load): Promise<void> {
    const before = figures.answered;
    await until("the load is served again", () => figures.answered > before + 200);
  }

  test("a server that is killed under load and comes back: every caller is answered, and the load flows again", async () => {
    const { server } = faults.postgres;
    const pool = faults.pool({ maxOpenConns: 4 });
    const figures = load(pool, 20);
    await flows(figures);
    for (let round = 0; round < 2; round++) {
      server.signal("SIGKILL");
      await server.exited();
      await until("callers are refused", () => figures.refused.has("ERR_VG_DB_CONNECT"));
      await server.restart();
      await flows(figures);
      figures.refused.clear();
    }
    await figures.stop();
  });

  test("a backend that crashes takes all sessions with it, and the load flows again after the server's recovery", async () => {
    const pool = faults.pool({ maxOpenConns: 4 });
    const figures = load(pool, 20);
    await flows(figures);
    process.kill(await backendPid(pool), "SIGKILL");
    await until("callers are interrupted", () => figures.refused.size > 0);
    await flows(figures);
    await figures.stop();
  });

  test("a server that is shut down in good order and started again under load: the load flows again", async () => {
    const { server } = faults.postgres;
    const pool = faults.pool({ maxOpenConns: 4 });
    const figures = load(pool, 20);
    await flows(figures);
    server.signal("SIGINT");
    await server.exited();
    await server.restart();
    await flows(figures);
    await figures.stop();
  });

  test("a server that takes no new connections any more is used through those that are open", async () => {
    const { server } = faults.postgres;
    const pool = faults.pool({ maxOpenConns: 4 });
    const connection = await pool.acquire();
    // A smart shutdown: it waits for the sessions to end.
    server.signal("SIGTERM");
    const behind = Array.from({ length: 10 }, (_, n) => pool.queryRow("select $1::int as n", [n]));
    await until("a dial is refused", () => pool.getStats().create_error_count > 0);
    connection.release();
    expect(await Promise.all(behind)).toEqual(Array.from({ length: 10 }, (_, n) => ({ n })));
    (await pool.acquire()).discard();
    await server.exited();
    await server.restart();
  });

  test("a server that has fewer places than the pool serves everybody through what it gave", async () => {
    await everyone();
    const others = await occupy(LIMIT - 2);
    const pool = faults.pool({ ...visitor, maxOpenConns: LIMIT });
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, n) => pool.queryRow("select $1::int as n, pg_sleep(0.005)::text as _", [n])),
    );
    expect(answers.map((row) => row?.["n"] as number)).toEqual(Array.from({ length: 40 }, (_, n) => n));
    expect(pool.getStats().open_connections).toBeLessThanOrEqual(2);
    await Promise.all(others.map((client) => client.end()));
  });

  test("a server without a single place answers each caller within its limit with the server's reason", async () => {
    await everyone();
    const others = await occupy(LIMIT);
    const pool = faults.pool({ ...visitor, maxOpenConns: LIMIT });
    const limits = { timeoutMs: 300 };
    const errors = await Promise.all(Array.from({ length: 20 }, () => outcome(pool.query("select 1", [], limits))));
    for (const error of errors) {
      expect((error as { code: string }).code).toMatch(/^ERR_VG_DB_(CONNECT|ACQUIRE_TIMEOUT)$/);
      expect((error as Error).message).toContain(FULL);
      expect((error as Error).cause).toMatchObject({ code: "53300" });
    }
    await Promise.all(others.map((client) => client.end()));
    expect(await pool.queryRow("select 1 as n", [], { timeoutMs: 10_000 })).toEqual({ n: 1 });
  });

  test("a place that becomes free on a full server goes to the pool's next caller", async () => {
    await everyone();
    const others = await occupy(LIMIT - 1);
    const pool = faults.pool({ ...visitor, maxOpenConns: LIMIT });
    const held = await pool.acquire();
    const waiting = pool.queryRow("select 1 as n");
    await until("a dial is refused", () => pool.getStats().create_error_count > 0);
    await Promise.all(others.map((client) => client.end()));
    expect(await waiting).toEqual({ n: 1 });
    held.release();
  });

  const visitor = { user: "visitor", password: "visitor" };

  /** A role that is no superuser, to whom the server's reserved places are closed. */
  async function everyone(): Promise<void> {
    const { rows } = await faults.postgres.watch("select 1 from pg_roles where rolname = 'visitor'");
    if (rows.length === 0) await faults.postgres.watch("create role visitor login password 'visitor'");
  }

  /** Takes places on the server. */
  async function occupy(count: number): Promise<pg.Client[]> {
    const { host, port } = faults.postgres.server;
    const clients = Array.from(
      { length: count },
      () => new pg.Client({ host, port, database: "postgres", ...visitor }),
    );
    await Promise.all(clients.map((client) => client.connect()));
    return clients;
  }
});
