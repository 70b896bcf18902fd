import { describe, expect, test } from "vitest";
import { CommitUnknownError, ConnectionLostError, QueryTimeoutError } from "../src/index.ts";
import { PIPELINING, outcome, useFaults } from "./fault-support.ts";
import { until } from "./support.ts";

describe.each(PIPELINING)("%s", (_mode, mode) => {
  const faults = useFaults(mode);

  const THOUSAND_ROWS = "select n, repeat('x', 50) as filler from generate_series(1, 1000) as n";

  test("a connection that is reset in the middle of a row fails its query, and no other", async () => {
    const proxy = await faults.proxy();
    const pool = faults.pool({ through: proxy, maxOpenConns: 2 });
    const stopped = new Promise<void>((resolve) => {
      proxy.onLink = (link) => {
        proxy.onLink = undefined;
        void link.toClient.stopAt("DataRow", { nth: 500, keep: 20 }).then(() => {
          link.reset();
          resolve();
        });
      };
    });
    const [torn, whole] = await Promise.all([
      outcome(pool.query(THOUSAND_ROWS)),
      stopped.then(() => pool.query(THOUSAND_ROWS)),
    ]);
    expect(torn).toBeInstanceOf(ConnectionLostError);
    expect((torn as Error).cause).toMatchObject({ code: "ECONNRESET" });
    expect(whole.rows).toHaveLength(1000);
  });

  test("an answer that stops in the middle of a row is given up at the query's limit", async () => {
    const proxy = await faults.proxy();
    const pool = faults.pool({ through: proxy, maxOpenConns: 1 });
    for (const keep of [1, 4, 5, 6, 11]) {
      await pool.query("select 1");
      void [...proxy.links].at(-1)?.toClient.stopAt("DataRow", { keep });
      expect(await outcome(pool.query(THOUSAND_ROWS, [], { timeoutMs: 100 }))).toBeInstanceOf(QueryTimeoutError);
    }
    expect(await pool.queryRow("select 1 as n")).toEqual({ n: 1 });
  });

  test("an answer that is cut after any of its bytes is an error, and one that is whole is an answer", async () => {
    const proxy = await faults.proxy();
    const pool = faults.pool({ through: proxy, maxOpenConns: 1, prepareThreshold: 0 });
    for (let bytes = 0; ; bytes++) {
      await pool.query("select 1");
      const link = [...proxy.links].at(-1);
      const cut = link?.toClient.stopAfter(bytes).then(() => link.close());
      const answer = await outcome(pool.queryRow("select $1::int as n", [7]));
      if (!(answer instanceof Error)) {
        expect(answer).toEqual({ n: 7 });
        expect(bytes).toBeGreaterThan(30);
        link?.heal();
        break;
      }
      expect(answer).toBeInstanceOf(ConnectionLostError);
      await cut;
    }
  });

  test("a COMMIT whose answer is cut after any of its bytes says that its outcome is unknown, and took effect", async () => {
    const proxy = await faults.proxy();
    const pool = faults.pool({ through: proxy, maxOpenConns: 1 });
    await pool.exec("create table cut (n int)");
    let n = 0;
    for (; ; n++) {
      const tx = await pool.begin();
      await tx.exec("insert into cut values ($1)", [n]);
      const link = [...proxy.links].at(-1);
      const stopped = link?.toClient.stopAfter(n).then(() => link.close());
      const answer = await outcome(tx.commit());
      if (answer === undefined) {
        link?.heal();
        break;
      }
      expect(answer).toBeInstanceOf(CommitUnknownError);
      await stopped;
    }
    expect(n).toBeGreaterThan(10);
    expect(await pool.queryRow("select count(*)::int as n from cut")).toEqual({ n: n + 1 });
  });

  test("an answer that comes byte by byte, every frame in pieces, is read as any other", async () => {
    const proxy = await faults.proxy();
    proxy.onLink = (link) => {
      link.toClient.drips = true;
      link.toServer.drips = true;
    };
    const pool = faults.pool({ through: proxy, maxOpenConns: 1 });
    const text = "select n, repeat('x', n) as x, null as nothing from generate_series(0, $1::int) as n";
    for (let round = 0; round < 4; round++) {
      const { rows } = await pool.query(text, [5]);
      expect(rows).toEqual(Array.from({ length: 6 }, (_, n) => ({ n, x: "x".repeat(n), nothing: null })));
      expect(await outcome(pool.query("select nonsense"))).toMatchObject({ code: "42703" });
      expect(await pool.transaction((tx) => tx.queryRow("select 2 as n"))).toEqual({ n: 2 });
    }
    expect(pool.getStats().create_count).toBe(1);
  });

  test("a peer that half-closes in the middle of a query fails it", async () => {
    const proxy = await faults.proxy();
    const pool = faults.pool({ through: proxy, maxOpenConns: 1 });
    const running = outcome(pool.query("select pg_sleep(600)"));
    await faults.running(pool, 1);
    for (const link of proxy.links) link.halfClose();
    expect(await running).toBeInstanceOf(ConnectionLostError);
  });

  test("a peer that half-closes and no longer reads costs a long write its limit, and no slot", async () => {
    const proxy = await faults.proxy();
    const pool = faults.pool({ through: proxy, maxOpenConns: 1 });
    await pool.query("select 1");
    for (const link of proxy.links) link.stopReading();
    const writing = outcome(pool.query("select length($1)", ["x".repeat(20_000_000)], { timeoutMs: 300 }));
    for (const link of proxy.links) link.halfClose();
    expect(await writing).toBeInstanceOf(QueryTimeoutError);
    expect(await pool.queryRow("select 1 as n")).toEqual({ n: 1 });
  });

  test("while the network swallows everything, each caller gets its own limit, and afterwards the pool is whole", async () => {
    const proxy = await faults.proxy();
    const pool = faults.pool({ through: proxy, maxOpenConns: 4, connectTimeoutMs: 500 });
    await Promise.all(Array.from({ length: 4 }, () => pool.query("select pg_sleep(0.01)")));
    proxy.onLink = (link) => link.blackHole();
    for (const link of proxy.links) link.blackHole();
    const reason = new Error("the user left");
    const calls = Array.from({ length: 20 }, (_, n) =>
      outcome(
        pool.query(
          "select 1",
          [],
          n % 2 === 0 ? { timeoutMs: 200 } : { signal: abortAfter(200, reason), timeoutMs: 5_000 },
        ),
      ),
    );
    const errors = await Promise.all(calls);
    for (const [n, error] of errors.entries()) {
      if (n % 2 === 1) expect(error).toBe(reason);
      else expect((error as { code: string }).code).toMatch(/^ERR_VG_DB_(QUERY|ACQUIRE)_TIMEOUT$/);
    }
    proxy.onLink = undefined;
    expect(await pool.queryRow("select 1 as n", [], { timeoutMs: 10_000 })).toEqual({ n: 1 });
  });

  test("idle connections that the network has silently dropped delay a caller, but do not fail it", async () => {
    const proxy = await faults.proxy();
    const pool = faults.pool({ through: proxy, maxOpenConns: 3, maxIdleConns: 3, validateAfterIdleMs: 0 });
    const connections = await Promise.all(Array.from({ length: 3 }, () => pool.acquire()));
    for (const connection of connections) connection.release();
    for (const link of proxy.links) link.blackHole();
    expect(await pool.queryRow("select 1 as n", [], { timeoutMs: 10_000 })).toEqual({ n: 1 });
  });

  test("on a slow network everything takes longer and nothing else happens", async () => {
    const proxy = await faults.proxy();
    proxy.onLink = (link) => link.delay(20);
    const pool = faults.pool({ through: proxy, maxOpenConns: 2 });
    const answers = await Promise.all(Array.from({ length: 10 }, (_, n) => pool.queryRow("select $1::int as n", [n])));
    expect(answers).toEqual(Array.from({ length: 10 }, (_, n) => ({ n })));
    expect(pool.getStats()).toMatchObject({ create_count: 2, create_error_count: 0, broken_closed: 0 });
  });

  test.each([
    ["in the middle of an answer", "DataRow"],
    ["behind an answer", "ReadyForQuery"],
  ] as const)("bytes that are no protocol, %s, reach no later query", async (_where, message) => {
    const proxy = await faults.proxy();
    const pool = faults.pool({ through: proxy, maxOpenConns: 1, resetTimeoutMs: 200 });
    await pool.query("select 1");
    const [link] = proxy.links;
    const stopped = link?.toClient.stopAt(message).then(() => {
      link.toClient.inject(Buffer.from([0, 0, 0, 0, 4, 255, 255, 255, 255, 255]));
      link.toClient.resume();
    });
    const first = outcome(pool.query("select 41 as n", [], { timeoutMs: 500 }));
    await stopped;
    await first;
    expect(await pool.queryRow("select 1 as n", [], { timeoutMs: 10_000 })).toEqual({ n: 1 });
  });

  test("a peer that never closes does not hold up a pool that closes", async () => {
    const proxy = await faults.proxy();
    proxy.onLink = (link) => {
      link.neverCloses = true;
    };
    const pool = faults.pool({ through: proxy, maxOpenConns: 3 });
    const connections = await Promise.all(Array.from({ length: 3 }, () => pool.acquire()));
    connections[0]?.release();
    connections[1]?.discard();
    expect(await pool.close({ deadlineMs: 100 })).toMatchObject({ drained: false, killed_connections: 1 });
    expect(pool.getStats()).toMatchObject({ open_connections: 0, in_use: 0 });
    await until("the pool's side of each is closed", () => proxy.open === 0);
  });

  function abortAfter(ms: number, reason: Error): AbortSignal {
    const controller = new AbortController();
    setTimeout(() => controller.abort(reason), ms);
    return controller.signal;
  }
});
