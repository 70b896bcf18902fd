import { setTimeout as delay } from "node:timers/promises";
import type pg from "pg";
import { describe, expect, test } from "vitest";
import { QueryTimeoutError } from "../src/index.ts";
import { PIPELINING, outcome, useFaults } from "./fault-support.ts";

describe.each(PIPELINING)("%s", (_mode, mode) => {
  const faults = useFaults(mode);

  test("aborting as many running queries as there are connections leaves the pool whole, and serves those behind", async () => {
    const pool = faults.pool({ maxOpenConns: 4 });
    const controller = new AbortController();
    const { signal } = controller;
    const running = Array.from({ length: 4 }, () => outcome(pool.query("select pg_sleep(600)", [], { signal })));
    const behind = Array.from({ length: 12 }, (_, n) => pool.queryRow("select $1::int as n", [n]));
    await faults.running(pool, 4);
    controller.abort(new Error("the request is gone"));
    for (const error of await Promise.all(running)) expect(error).toBe(signal.reason);
    expect(await Promise.all(behind)).toEqual(Array.from({ length: 12 }, (_, n) => ({ n })));
  });

  test("limits that end at the same moment as the answer: each caller gets its own answer or its own limit", async () => {
    const pool = faults.pool({ maxOpenConns: 4 });
    let answered = 0;
    let ended = 0;
    const call = async (n: number): Promise<void> => {
      const reason = new Error(`the limit of ${n}`);
      const controller = new AbortController();
      const limits = n % 3 === 0 ? { timeoutMs: 1 + (n % 7) } : { signal: controller.signal };
      const calling = outcome(pool.queryRow("select $1::int as n, pg_sleep(0.002)::text", [n], limits));
      if (n % 3 === 1) void delay(n % 7).then(() => controller.abort(reason));
      if (n % 3 === 2) controller.abort(reason);
      const answer = await calling;
      if (answer instanceof Error) {
        if (n % 3 === 0) expect((answer as Error & { code: string }).code).toMatch(/_(ACQUIRE|QUERY)_TIMEOUT$/);
        else expect(answer).toBe(reason);
        ended++;
      } else {
        expect(answer).toEqual({ n, pg_sleep: "" });
        answered++;
      }
    };
    for (let round = 0; round < 20; round++) {
      await Promise.all(Array.from({ length: 20 }, (_, n) => call(round * 20 + n)));
      // With nobody else's limit near, the answers are right and in time.
      expect(await pool.queryRow("select $1::int as n", [-1 - round])).toEqual({ n: -1 - round });
    }
    expect(answered + ended).toBe(400);
  });

  test.each([
    ["ended", (client: pg.PoolClient) => void (client as unknown as pg.Client).end()],
    [
      "cut",
      (client: pg.PoolClient) => (client as unknown as { connection: pg.Connection }).connection.stream.destroy(),
    ],
  ])("a client that its borrower has %s is not lent again", async (_how, end) => {
    const pool = faults.pool({ maxOpenConns: 1 });
    const client = await pool.connect();
    const next = pool.queryRow("select 1 as n");
    end(client);
    client.release();
    expect(await next).toEqual({ n: 1 });
    expect(pool.getStats().create_count).toBe(2);
  });

  test("borrowers that break one connection after another starve nobody", async () => {
    const pool = faults.pool({ maxOpenConns: 3 });
    const breaker = async (): Promise<void> => {
      for (let n = 0; n < 20; n++) {
        const client = await pool.connect();
        (client as unknown as { connection: pg.Connection }).connection.stream.destroy();
        client.release();
      }
    };
    const answers = Promise.all(Array.from({ length: 60 }, (_, n) => pool.queryRow("select $1::int as n", [n])));
    await Promise.all([breaker(), breaker(), breaker()]);
    expect(await answers).toEqual(Array.from({ length: 60 }, (_, n) => ({ n })));
  });

  test("a type parser that throws fails its query, and the connection goes on", async () => {
    const pool = faults.pool({ maxOpenConns: 1 });
    const types = {
      getTypeParser: () => () => {
        throw new Error("the parser's bug");
      },
    };
    for (let n = 0; n < 3; n++) {
      const config = { text: "select n from generate_series(1, 100) as n", types };
      expect(await outcome(pool.query(config as pg.QueryConfig))).toMatchObject({ message: "the parser's bug" });
      expect(await pool.queryRow("select 1 as n")).toEqual({ n: 1 });
    }
    expect(pool.getStats().create_count).toBe(1);
  });

  test("a transaction that is given up in the middle of a statement holds nothing on the server", async () => {
    const pool = faults.pool({ maxOpenConns: 2 });
    await pool.exec("create table locked (n int)");
    const given = outcome(
      pool.transaction(
        async (tx) => {
          await tx.query("lock table locked in access exclusive mode");
          await tx.query("select pg_sleep(600)");
        },
        { timeoutMs: 200 },
      ),
    );
    await faults.running(pool, 1);
    const behind = pool.queryRow("select count(*)::int as n from locked");
    expect(await given).toBeInstanceOf(QueryTimeoutError);
    expect(await behind).toEqual({ n: 0 });
  });
});
