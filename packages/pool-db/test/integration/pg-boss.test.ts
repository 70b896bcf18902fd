import { once } from "node:events";
import { PgBoss, type Job } from "pg-boss";
import { expect, test } from "vitest";
import { toPgBoss, type DbPool } from "../../src/index.ts";
import { until } from "../support.ts";
import { useLibrary } from "./support.ts";

const library = useLibrary("pg-boss");

async function start(pool: DbPool, options: { useListenNotify?: boolean } = {}): Promise<PgBoss> {
  const boss = new PgBoss({ db: toPgBoss(pool), supervise: false, schedule: false, ...options });
  boss.on("error", (error) => {
    throw error;
  });
  await boss.start();
  return boss;
}

test("pg-boss: migrates, sends, works, retries and fails jobs, and stops without closing the pool", async () => {
  const pool = library.pool();
  const boss = await start(pool);
  await boss.createQueue("mail", { retryLimit: 0 });
  const id = await boss.send("mail", { to: "ada" });
  const [job] = await boss.fetch<{ to: string }>("mail");
  expect(job).toMatchObject({ id, data: { to: "ada" } });
  await boss.complete("mail", id ?? "", { sent: true });
  await boss.insert("mail", [{ data: { to: "bob" } }, { data: { to: "eve" } }]);
  const seen: string[] = [];
  await boss.work<{ to: string }>("mail", { pollingIntervalSeconds: 0.5 }, async ([next]) => {
    seen.push(next?.data.to ?? "");
    if (next?.data.to === "bob") throw new Error("no such box");
  });
  await until("both were worked on", () => seen.length === 2);
  await until("their outcome is known", async () => {
    const jobs = await boss.findJobs("mail");
    return jobs.every(({ state }) => state === "completed" || state === "failed");
  });
  const states = (await boss.findJobs("mail")).map(({ state }) => state).toSorted();
  expect(states).toEqual(["completed", "completed", "failed"]);
  await boss.stop();
  expect(pool.ended).toBe(false);
  await library.whole(pool);
});

test("pg-boss: a job is part of the caller's transaction", async () => {
  const pool = library.pool();
  const boss = await start(pool);
  await boss.createQueue("orders");
  await pool.exec("create table orders (id int primary key)");
  await pool.transaction(async (tx) => {
    await tx.exec("insert into orders values (1)");
    await boss.send("orders", { id: 1 }, { db: toPgBoss(tx) });
  });
  const undone = pool.transaction(async (tx) => {
    await boss.send("orders", { id: 2 }, { db: toPgBoss(tx) });
    await tx.exec("insert into orders values (1)");
  });
  await expect(undone).rejects.toMatchObject({ code: "23505" });
  await using conn = await pool.acquire();
  await boss.send("orders", { id: 3 }, { db: toPgBoss(conn) });
  const jobs = await boss.fetch<{ id: number }>("orders", { batchSize: 10 });
  expect(jobs.map(({ data }) => data.id).toSorted((a, b) => a - b)).toEqual([1, 3]);
  conn.release();
  await boss.stop();
  await library.whole(pool);
});

test("pg-boss: a transactional worker's writes and its job's outcome are one", async () => {
  const pool = library.pool();
  const boss = await start(pool);
  await boss.createQueue("steps", { retryLimit: 0 });
  await pool.exec("create table steps (n int)");
  await boss.insert("steps", [{ data: { n: 1 } }, { data: { n: 2 } }]);
  let late: Promise<unknown> | undefined;
  await boss.work(
    "steps",
    { transactional: true, pollingIntervalSeconds: 0.5 },
    async ([job]: Job<{ n: number }>[], tx) => {
      await tx.executeSql("insert into steps values ($1)", [job?.data.n]);
      if (job?.data.n === 2) throw new Error("not this one");
      late = once(boss, "stopped").then(() => tx.executeSql("insert into steps values (99)"));
      late.catch(() => undefined);
    },
  );
  await until("both have ended", async () => (await boss.findJobs("steps")).every(({ state }) => state.endsWith("ed")));
  await boss.stop();
  await expect(late).rejects.toMatchObject({ code: "ERR_VG_DB_TRANSACTION_STATE" });
  expect((await pool.query("select n from steps")).rows).toEqual([{ n: 1 }]);
  await library.whole(pool);
});

test("pg-boss: a notification wakes a worker at once, also after the listening session was killed", async () => {
  const pool = library.pool();
  const boss = await start(pool, { useListenNotify: true });
  await boss.createQueue("bell", { notify: true });
  const rung: number[] = [];
  await boss.work<{ n: number }>(
    "bell",
    { pollingIntervalSeconds: 60, notifyPollingIntervalSeconds: 600 },
    async ([job]) => {
      rung.push(job?.data.n ?? 0);
    },
  );
  const listeners = `select pid from pg_stat_activity where query like 'LISTEN %' and application_name = $1`;
  const [first] = (await library.watch(listeners, [pool.options.application_name])) as { pid: number }[];
  expect(pool.getStats().in_use).toBe(1);
  await boss.send("bell", { n: 1 });
  await until("it has rung", () => rung.length === 1);
  await library.watch("select pg_terminate_backend($1)", [first?.pid]);
  await until("another session listens", async () => {
    const [next] = (await library.watch(listeners, [pool.options.application_name])) as { pid: number }[];
    return next !== undefined && next.pid !== first?.pid;
  });
  await boss.send("bell", { n: 2 });
  await until("it has rung again", () => rung.length === 2);
  await boss.stop();
  await library.whole(pool);
});

test("toPgBoss: session statements reach every session, and counts are the pool's", async () => {
  const pool = library.pool({ maxOpenConns: 3 });
  const db = toPgBoss(pool);
  expect(await db.executeSql("select 1 as a; select 2 as b")).toEqual({ rows: [{ a: 1 }, { b: 2 }] });
  await db.setSessionStatements(["set application_name to 'pg-boss statements'"]);
  const names = async (): Promise<unknown[]> => {
    const conns = await Promise.all([pool.acquire(), pool.acquire()]);
    expect(db.poolCounts()).toEqual({ max: 3, total: 2, idle: 0, waiting: 0 });
    const shown = await Promise.all(conns.map((conn) => conn.queryRow("show application_name")));
    for (const conn of conns) conn.release();
    return shown.map((row) => row?.["application_name"]);
  };
  expect(await names()).toEqual(["pg-boss statements", "pg-boss statements"]);
  await db.setSessionStatements(["set work_mem to '5MB'", "select nonsense"]);
  await expect(pool.query("select 1")).rejects.toMatchObject({ code: "ERR_VG_DB_CONNECT" });
  await db.setSessionStatements([]);
  expect(await pool.queryRow("select 1 as n")).toEqual({ n: 1 });
  await pool.close();
});

test("toPgBoss: a script that fails half-way leaves no transaction behind", async () => {
  const pool = library.pool({ maxOpenConns: 1 });
  const db = toPgBoss(pool);
  await expect(db.executeSql("begin; create table half (n int); select nonsense; commit")).rejects.toMatchObject({
    code: "42703",
  });
  expect(await db.executeSql("select to_regclass('half') as half")).toEqual({ rows: [{ half: null }] });
  await expect(
    db.listen(
      "",
      () => undefined,
      () => undefined,
    ),
  ).rejects.toMatchObject({ code: "42601" });
  await library.whole(pool);
});
