import fc from "fast-check";
import pg from "pg";
import { expect, test } from "vitest";
import { ConnectionLostError, type DbPool } from "../src/index.ts";
import type { PlainCall } from "../src/query/plain-call.ts";
import { runnerOf } from "../src/query/statement-runner.ts";
import { backendPid, until, usePostgres } from "./support.ts";

const postgres = usePostgres();

/** Two uses make sure that the pool knows its server, and the statement is prepared. */
async function piped(options: object = {}): Promise<DbPool> {
  const pool = postgres.pool({ maxOpenConns: 1, pipeline: true, ...options });
  await pool.query("select 1");
  return pool;
}

/** Runs for a part of a second, and sleeps in no function that would keep it from sharing. */
const SLOW = "select count(*)::int as n from generate_series(1, 1000000)";

/** What is still being rolled back, or dialled for a demand that has gone, comes to its end; then the books balance. */
const whole = async (pool: DbPool): Promise<void> => {
  await until("the pool is at rest", () => {
    const { in_use, connecting } = pool.getStats();
    return in_use === 0 && connecting === 0;
  });
  const stats = pool.getStats();
  expect(stats.pending).toBe(0);
  expect(stats.open_connections).toBe(stats.idle);
  expect(stats.acquire_count).toBe(stats.release_count);
};

test("without the option nothing shares a connection", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  await pool.query("select 1");
  await Promise.all(Array.from({ length: 20 }, () => pool.query("select 1")));
  expect(pool.getStats()).toMatchObject({ pipelined_count: 0, acquire_count: 21 });
});

test("plain statements share a connection when none is free, and each gets its own answer", async () => {
  const pool = await piped();
  const answers = await Promise.all(
    Array.from({ length: 100 }, (_, n) => pool.queryRow<{ n: number }>("select $1::int as n", [n])),
  );
  expect(answers.map((row) => row?.n)).toEqual(Array.from({ length: 100 }, (_, n) => n));
  expect(pool.getStats().pipelined_count).toBeGreaterThan(50);
  expect(pool.getStats()).toMatchObject({ create_count: 1 });
  await whole(pool);
});

test("an error is its statement's own: its neighbours get their answers", async () => {
  const pool = await piped();
  await pool.exec("create table twice (n int primary key)");
  const results = await Promise.allSettled(
    Array.from({ length: 40 }, (_, n) => pool.exec("insert into twice values ($1)", [n % 20])),
  );
  expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(20);
  for (const result of results) {
    if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "23505" });
  }
  expect(await pool.queryRow("select count(*)::int as n from twice")).toEqual({ n: 20 });
  expect(pool.getStats()).toMatchObject({ create_count: 1 });
  await whole(pool);
});

test("a new statement that cannot be parsed gives its own error to each that asked for it at once", async () => {
  const pool = await piped();
  for (let round = 0; round < 4; round++) {
    const results = await Promise.allSettled(
      Array.from({ length: 8 }, () => pool.query("select nonsense from nowhere")),
    );
    for (const result of results) expect(result).toMatchObject({ status: "rejected", reason: { code: "42P01" } });
  }
  const results = await Promise.allSettled(Array.from({ length: 8 }, (_, n) => pool.query("select $1::int / 0", [n])));
  for (const result of results) expect(result).toMatchObject({ status: "rejected", reason: { code: "22012" } });
  await whole(pool);
});

test("a value that cannot be serialised fails alone, before anything is sent", async () => {
  const pool = await piped();
  const circular: Record<string, unknown> = {};
  circular["self"] = circular;
  const results = await Promise.allSettled(
    Array.from({ length: 20 }, (_, n) => pool.queryRow("select $1::text as t", [n === 7 ? circular : `${n}`])),
  );
  expect(results.map(({ status }) => status === "fulfilled")).toEqual(Array.from({ length: 20 }, (_, n) => n !== 7));
  expect(await pool.queryRow("select $1::text as t", ["again"])).toEqual({ t: "again" });
});

test("no stranger's statement runs inside of a transaction, in any mix of them", async () => {
  const pool = await piped({ maxOpenConns: 3 });
  await pool.exec("create table ledger (who text, n int)");
  const kinds = ["plain", "transaction", "rollback", "text", "session", "limited"] as const;
  await fc.assert(
    fc.asyncProperty(fc.array(fc.constantFrom(...kinds), { minLength: 5, maxLength: 30 }), async (steps) => {
      await pool.exec("truncate ledger");
      const run = async (kind: (typeof kinds)[number], n: number): Promise<void> => {
        if (kind === "plain") {
          await pool.query("insert into ledger values ('plain', $1)", [n]);
          // In a stranger's transaction that has written something it would have the number of that one.
          const row = await pool.queryRow("select pg_current_xact_id_if_assigned() is null as alone");
          expect(row).toEqual({ alone: true });
        } else if (kind === "transaction" || kind === "rollback") {
          const work = pool.transaction(async (tx) => {
            await tx.exec("insert into ledger values ('first', $1)", [n]);
            if (kind === "rollback") throw new Error("on purpose");
            await tx.exec("insert into ledger values ('second', $1)", [n]);
          });
          await work.catch((error: Error) => expect(error.message).toBe("on purpose"));
        } else if (kind === "text") {
          await pool.query(`begin; insert into ledger values ('text', ${n}); rollback`);
        } else if (kind === "session") {
          await pool.query("select set_config('vg.test', $1, false)", [String(n)]);
        } else {
          await pool.query("insert into ledger values ('limited', $1)", [n], { timeoutMs: 10_000 });
        }
      };
      await Promise.all(steps.map(run));
      const count = (kind: string): number => steps.filter((step) => step === kind).length;
      const { rows } = await pool.query("select who, count(*)::int as n from ledger group by who");
      const seen = Object.fromEntries(rows.map(({ who, n }) => [who, n]));
      expect(seen).toEqual({
        ...(count("plain") > 0 ? { plain: count("plain") } : {}),
        ...(count("transaction") > 0 ? { first: count("transaction"), second: count("transaction") } : {}),
        ...(count("limited") > 0 ? { limited: count("limited") } : {}),
      });
    }),
    { numRuns: 25 },
  );
  await whole(pool);
});

test("BEGIN, SET, LISTEN, row locks, advisory locks, several statements and limits have a connection of their own", async () => {
  const pool = await piped({ maxOpenConns: 4 });
  await pool.exec("create table locks (n int)");
  const before = pool.getStats().pipelined_count;
  const alone = [
    () => pool.query("begin"),
    () => pool.query("set application_name = 'x'"),
    () => pool.query("listen somebody"),
    () => pool.query("select * from locks for update"),
    () => pool.query("select pg_advisory_xact_lock(1)"),
    () => pool.query("select 1; select 2"),
    () => pool.query("select 1 as limited", [], { timeoutMs: 5_000 }),
    () => pool.query("select 1 as signalled", [], { signal: new AbortController().signal }),
    () => pool.query("select 1 as own", [], { exclusive: true }),
    () => pool.query("copy locks to stdout"),
    () => pool.query("vacuum locks"),
  ];
  await Promise.all(alone.flatMap((run) => [run(), run(), run()]));
  expect(pool.getStats().pipelined_count).toBe(before);
  await whole(pool);
});

test("an abort hits nobody but its own query", async () => {
  const pool = await piped({ maxOpenConns: 2 });
  const controller = new AbortController();
  const aborted = pool.query(SLOW, [], { signal: controller.signal });
  const neighbours = Promise.all(Array.from({ length: 30 }, (_, n) => pool.queryRow("select $1::int as n", [n])));
  setImmediate(() => controller.abort(new Error("left")));
  await expect(aborted).rejects.toThrow("left");
  expect(await neighbours).toEqual(Array.from({ length: 30 }, (_, n) => ({ n })));
  await whole(pool);
});

test("a connection that dies fails all that are under way on it, and the pool goes on", async () => {
  const pool = await piped();
  const pid = await backendPid(pool);
  const running = Array.from({ length: 5 }, () => pool.query(SLOW).catch((error: unknown) => error));
  await until("the first one runs", async () => {
    const { rows } = await postgres.watch("select 1 from pg_stat_activity where pid = $1 and state = 'active'", [pid]);
    return rows.length === 1;
  });
  await postgres.watch("select pg_terminate_backend($1)", [pid]);
  const [first, ...rest] = await Promise.all(running);
  expect(first).toMatchObject({ code: "57P01" });
  for (const error of rest) expect(error).toBeInstanceOf(ConnectionLostError);
  expect(await pool.queryRow("select 1 as n")).toEqual({ n: 1 });
  await whole(pool);
});

test("an exclusive caller is not overtaken by those who could share", async () => {
  const pool = await piped();
  const order: string[] = [];
  const note = (name: string) => () => void order.push(name);
  const first = pool.query(SLOW).then(note("first"));
  const exclusive = pool.acquire().then((conn) => {
    order.push("exclusive");
    conn.release();
  });
  const late = Array.from({ length: 3 }, () => pool.query("select 1").then(note("late")));
  await Promise.all([first, exclusive, ...late]);
  // The connection is lent on before whoever awaits the first one's answer goes on.
  expect(order.slice(0, 2).toSorted()).toEqual(["exclusive", "first"]);
  expect(order.slice(2)).toEqual(["late", "late", "late"]);
});

test("no more than pipelineDepth statements are under way on a connection, and the others wait in the line", async () => {
  const pool = await piped({ pipelineDepth: 4 });
  const running = Array.from({ length: 10 }, () => pool.query(SLOW));
  expect(pool.getStats()).toMatchObject({ in_use: 1, pending: 6, pipelined_count: 3 });
  expect((await Promise.all(running)).map(({ rows }) => rows[0])).toEqual(
    Array.from({ length: 10 }, () => ({ n: 1_000_000 })),
  );
  await whole(pool);
});

test("a statement that leaves a transaction open on a shared connection cuts it, and its neighbours fail loudly", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const client = await pool.connect();
  const runner = runnerOf(client, true);
  if (runner === undefined) throw new Error("the client has no wire");
  const call = (text: string): PlainCall => ({
    text,
    values: [],
    name: undefined,
    asArray: false,
    types: undefined,
    prepare: false,
  });
  // By no classification does BEGIN come here; a statement that does what it does must be found out all the same.
  const run = (text: string): Promise<unknown> =>
    new Promise((resolve) => {
      const known = { text, plain: true, shareable: true, changes: "nothing" as const, uses: 0 };
      runner.run(call(text), known, true, (error, result) => resolve(error ?? result));
    });
  const answers = await Promise.all([run("begin"), run("create table leaked (n int)"), run("select 1")]);
  expect(answers[0]).toMatchObject({ command: "BEGIN" });
  for (const answer of answers.slice(1)) expect((answer as Error).message).toContain("left a transaction open");
  const { rows } = await postgres.watch("select to_regclass('leaked') as leaked");
  expect(rows).toEqual([{ leaked: null }]);
  client.release();
  expect(pool.getStats()).toMatchObject({ open_connections: 0, broken_closed: 1 });
});

test("a client class of the user's that pg itself pipelines, or that has no wire, answers as well", async () => {
  class Piped extends pg.Client {
    constructor(config: pg.ClientConfig) {
      super({ ...config, pipeline: true });
    }
  }
  const pool = await piped({ Client: Piped as never });
  const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => pool.queryRow("select $1::int as n", [n])));
  expect(answers).toEqual(Array.from({ length: 20 }, (_, n) => ({ n })));
  await whole(pool);
});
