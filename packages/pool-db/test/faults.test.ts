import { once } from "node:events";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  AcquireTimeoutError,
  ConnectError,
  ConnectionLostError,
  DbPool,
  PoolClosedError,
  QueryTimeoutError,
  openDbPool,
} from "../src/index.ts";
import { backendPid, faultServer, until, usePostgres } from "./support.ts";

const postgres = usePostgres();

const uncaught: unknown[] = [];
const collect = (error: unknown): void => void uncaught.push(error);
beforeEach(() => {
  uncaught.length = 0;
  process.on("uncaughtException", collect);
});
afterEach(() => {
  process.off("uncaughtException", collect);
  expect(uncaught).toEqual([]);
});

const sleepers = async (pid: number): Promise<number> => {
  const { rows } = await postgres.watch("select 1 from pg_stat_activity where pid = $1 and state = 'active'", [pid]);
  return rows.length;
};

test("an idle connection that the server closes leaves the pool at once, and nothing is thrown", async () => {
  const pool = postgres.pool();
  const pid = await backendPid(pool);
  await postgres.watch("select pg_terminate_backend($1)", [pid]);
  await until("the pool notices", () => pool.getStats().open_connections === 0);
  expect(pool.getStats()).toMatchObject({ broken_closed: 1, in_use: 0, idle: 0 });
  expect(await backendPid(pool)).not.toBe(pid);
});

test("who listens to the pool's error event hears of a lost idle connection, with its client", async () => {
  const pool = postgres.pool();
  const pid = await backendPid(pool);
  const heard = once(pool, "error");
  await postgres.watch("select pg_terminate_backend($1)", [pid]);
  const [error, client] = (await heard) as [Error & { client: unknown; code: string }, { processID: number }];
  expect(error.code).toBe("57P01");
  expect(error.client).toBe(client);
  expect(client.processID).toBe(pid);
});

test("a query whose backend is terminated rejects, and its slot is free", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const conn = await pool.acquire();
  const pid = await backendPid({ query: (text) => conn.query(text) });
  const running = conn.query("select pg_sleep(60)").catch((error: unknown) => error);
  await until("the query runs", async () => (await sleepers(pid)) === 1);
  await postgres.watch("select pg_terminate_backend($1)", [pid]);
  expect(await running).toMatchObject({ code: "57P01" });
  // The holder has not released, and never will; the slot is free all the same.
  expect(await pool.queryRow("select 1 as n")).toEqual({ n: 1 });
  conn.release();
  expect(pool.getStats()).toMatchObject({ acquire_count: 2, release_count: 2, in_use: 0 });
});

test("a server that crashes under running queries fails them all, and the pool recovers by itself", async () => {
  const pool = postgres.pool({ maxOpenConns: 4, connMaxIdleTimeMs: 0 });
  const running = Array.from({ length: 8 }, () => pool.query("select pg_sleep(60)").catch((error: unknown) => error));
  await until("all connections are in use", () => pool.getStats().in_use === 4);
  postgres.server.signal("SIGKILL");
  const errors = await Promise.all(running);
  for (const error of errors) expect(error).toBeInstanceOf(Error);
  await postgres.server.exited();
  await expect(pool.query("select 1")).rejects.toMatchObject({
    code: "ERR_VG_DB_CONNECT",
    cause: { code: "ECONNREFUSED" },
  });
  expect(await pool.health()).toMatchObject({ ok: false, error: expect.stringContaining("ECONNREFUSED") as string });
  expect(pool.getStats()).toMatchObject({ open_connections: 0, in_use: 0, connecting: 0, pending: 0 });
  await postgres.server.restart();
  expect(await pool.queryRow("select 1 as n")).toEqual({ n: 1 });
  const { acquire_count, release_count, in_use } = pool.getStats();
  expect(acquire_count - release_count).toBe(in_use);
});

test("a hundred callers of a server that is down are refused after a few dials, not a hundred", async () => {
  const down = await faultServer(() => undefined);
  await down.close();
  const pool = new DbPool({ host: "127.0.0.1", port: down.port, user: "u", password: "p" });
  const results = await Promise.allSettled(Array.from({ length: 100 }, () => pool.query("select 1")));
  for (const result of results) {
    expect(result).toMatchObject({ status: "rejected", reason: { code: "ERR_VG_DB_CONNECT" } });
  }
  expect(pool.getStats().create_error_count).toBeLessThanOrEqual(8);
  await pool.close();
});

test("an abort while waiting rejects at once with the reason, and the place in the line is free", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const conn = await pool.acquire();
  const controller = new AbortController();
  const reason = new Error("nobody wants it any more");
  const waiting = pool.query("select 1", [], { signal: controller.signal });
  const behind = pool.queryRow("select 2 as n");
  expect(pool.waitingCount).toBe(2);
  controller.abort(reason);
  await expect(waiting).rejects.toBe(reason);
  expect(pool.waitingCount).toBe(1);
  conn.release();
  expect(await behind).toEqual({ n: 2 });
  await expect(pool.query("select 1", [], { signal: controller.signal })).rejects.toBe(reason);
  expect(pool.getStats()).toMatchObject({ canceled_count: 2, timeout_count: 0, in_use: 0 });
});

test("an abort of a running query rejects at once, stops it on the server, and frees the slot", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const pid = await backendPid(pool);
  const controller = new AbortController();
  const running = pool.query("select pg_sleep(600)", [], { signal: controller.signal });
  await until("the query runs", async () => (await sleepers(pid)) === 1);
  const reason = new Error("the client hung up");
  controller.abort(reason);
  await expect(running).rejects.toBe(reason);
  expect(await pool.queryRow("select 1 as n")).toEqual({ n: 1 });
  await until("the server has stopped it", async () => (await sleepers(pid)) === 0);
});

test("a query that outlasts its timeout rejects with QueryTimeoutError, per call and for the whole pool", async () => {
  const pool = postgres.pool({ maxOpenConns: 1, queryTimeoutMs: 50 });
  // The limit is for the query: the dial before it has time.
  const ready = (): Promise<number> => pool.exec("select 1", [], { timeoutMs: 10_000 });
  await ready();
  await expect(pool.query("select pg_sleep(600)")).rejects.toThrow(QueryTimeoutError);
  await ready();
  await expect(pool.query("select pg_sleep(600)", [], { timeoutMs: 20 })).rejects.toThrow("within 20 ms");
  await ready();
  const config = { text: "select pg_sleep(600)", query_timeout: 30 };
  await expect(pool.query(config)).rejects.toThrow("within 30 ms");
  await ready();
  expect(pool.getStats().in_use).toBe(0);
});

test("an acquire that times out says how the pool stood", async () => {
  const pool = postgres.pool({ name: "orders", maxOpenConns: 1, acquireTimeoutMs: 30 });
  const conn = await pool.acquire({ timeoutMs: 10_000 });
  const error = await pool.query("select 1").catch((caught: unknown) => caught as Error);
  expect(error).toBeInstanceOf(AcquireTimeoutError);
  expect((error as Error).message).toMatch(
    /^Pool orders: no connection became available, timeout after \d+ ms \(acquireTimeoutMs 30; open 1, in_use 1, idle 0, connecting 0, waiting 1; the oldest lease is \d+ ms old\)\./,
  );
  expect(pool.getStats()).toMatchObject({ timeout_count: 1, pending: 0, in_use: 1, wait_count: 2 });
  conn.release();
});

test("the errors of the pool itself name the limit that was hit, and lead to who called", async () => {
  const pool = postgres.pool({ maxOpenConns: 1, queryTimeoutMs: 40, acquireTimeoutMs: 40 });
  const pid = await backendPid(pool);
  const caughtByMe = async (call: () => Promise<unknown>): Promise<Error> => {
    try {
      await call();
    } catch (error) {
      return error as Error;
    }
    throw new Error("nothing was refused");
  };
  const slow = "select pg_sleep(600)";
  const own = await caughtByMe(() => pool.query(slow, [], { timeoutMs: 30 }));
  const whole = await caughtByMe(() => pool.query(slow));
  expect(own).toMatchObject({ limitedBy: "timeoutMs", timeoutMs: 30, sent: true, processId: pid });
  expect(own.message).toContain(
    `did not end within 30 ms (timeoutMs) and was given up while it ran (server process ${pid})`,
  );
  expect(whole).toMatchObject({ limitedBy: "queryTimeoutMs", timeoutMs: 40, sent: true });
  expect(whole.message).toContain("Raise queryTimeoutMs");
  await pool.health();
  const conn = await pool.acquire({ timeoutMs: 10_000 });
  const running = conn.query(slow, [], { timeoutMs: 500 }).catch(() => undefined);
  const unsent = await caughtByMe(() => conn.query("select 1"));
  expect(unsent).toMatchObject({ limitedBy: "queryTimeoutMs", sent: false, processId: undefined });
  const waits = [
    await caughtByMe(() => pool.query("select 1")),
    await caughtByMe(() => pool.acquire()),
    await caughtByMe(() => pool.begin()),
    await caughtByMe(() => pool.connect()),
  ];
  for (const error of waits) {
    expect(error).toBeInstanceOf(AcquireTimeoutError);
    expect(error.message).toContain("(acquireTimeoutMs 40; ");
  }
  expect((await caughtByMe(() => pool.query("select 1", [], { timeoutMs: 20 }))).message).toContain("(timeoutMs 20; ");
  for (const error of [own, whole, unsent, ...waits]) expect(error.stack).toContain("caughtByMe");
  await running;
  conn.release();
});

test("who waits when close() has no more time is told so", async () => {
  const pool = postgres.pool({ name: "orders", maxOpenConns: 1 });
  await pool.acquire();
  const waiting = pool.query("select 1").catch((error: unknown) => error);
  await pool.close({ deadlineMs: 20 });
  expect(await waiting).toBeInstanceOf(PoolClosedError);
  expect(((await waiting) as Error).message).toMatch(
    /^Pool orders: it was closed before a connection became free \(close\(\) waited \d+ ms\)\.$/,
  );
});

test("a connection released inside a transaction is rolled back before anybody else gets it", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  await pool.exec("create table strangers (n int)");
  const client = await pool.connect();
  await client.query("begin");
  await client.query("insert into strangers values (1)");
  client.release();
  const next = await pool.connect();
  expect((await next.query("select count(*)::int as n from strangers")).rows).toEqual([{ n: 0 }]);
  expect(await backendPid(next)).toBe((client as unknown as { processID: number }).processID);
  expect((await next.query("select pg_current_xact_id_if_assigned() as id")).rows).toEqual([{ id: null }]);
  await next.query("begin");
  await next.query("select nonsense").catch(() => undefined);
  next.release();
  expect(await pool.queryRow("select 1 as n")).toEqual({ n: 1 });
  expect(pool.getStats()).toMatchObject({ dirty_closed: 0, broken_closed: 0, create_count: 1 });
});

test("a connection released while a query runs on it is closed, not reused", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const client = await pool.connect();
  const forgotten = client.query("select pg_sleep(600)").catch((error: unknown) => error);
  client.release();
  expect(await pool.queryRow("select 1 as n")).toEqual({ n: 1 });
  expect(await forgotten).toBeInstanceOf(Error);
  expect(pool.getStats()).toMatchObject({ dirty_closed: 1, in_use: 0 });
});

test("a frozen server: a stale idle connection fails its check, and the pool is whole after the thaw", async () => {
  const pool = postgres.pool({ maxOpenConns: 2, validateAfterIdleMs: 0 });
  const pid = await backendPid(pool);
  process.kill(pid, "SIGSTOP");
  try {
    // The check of the one gets no answer; only its own deadline, or another connection, ends the wait.
    await expect(pool.query("select 1", [], { timeoutMs: 100 })).rejects.toThrow(AcquireTimeoutError);
    const patient = await pool.acquire({ timeoutMs: 10_000 });
    expect(await backendPid({ query: (text) => patient.query(text) })).not.toBe(pid);
    patient.release();
    await until("the silent one is given up", () => pool.getStats().broken_closed === 1);
    expect(pool.getStats()).toMatchObject({ open_connections: 1, in_use: 0 });
  } finally {
    process.kill(pid, "SIGCONT");
  }
});

test("a server that accepts and never answers costs the caller its deadline and no slot", async () => {
  const silent = await faultServer(() => undefined);
  const pool = new DbPool({
    host: "127.0.0.1",
    port: silent.port,
    user: "u",
    password: "p",
    maxOpenConns: 2,
    acquireTimeoutMs: 30,
    connectTimeoutMs: 1_000,
  });
  await expect(pool.query("select 1")).rejects.toThrow(AcquireTimeoutError);
  expect(pool.getStats().connecting).toBe(1);
  await until("the dial is given up", () => pool.getStats().connecting === 0);
  await until("its socket is closed", () => silent.sockets.size === 0);
  await expect(pool.query("select 1", [], { timeoutMs: 10_000 })).rejects.toThrow(AcquireTimeoutError);
  await expect(pool.acquire({ timeoutMs: 10_000 })).rejects.toThrow(ConnectError);
  expect(await pool.close()).toMatchObject({ drained: true });
  await until("nothing is left", () => silent.sockets.size === 0);
  await silent.close();
});

test("a connection that is reset in the middle of a query rejects with ConnectionLostError", async () => {
  const { host, port, user, password } = postgres.server;
  const { connect } = await import("node:net");
  const proxy = await faultServer((socket) => {
    const upstream = connect(port, host);
    upstream.on("error", () => socket.destroy());
    socket.pipe(upstream).pipe(socket);
    socket.on("close", () => upstream.destroy());
  });
  const pool = new DbPool({
    host: "127.0.0.1",
    port: proxy.port,
    user,
    password,
    database: "postgres",
    maxOpenConns: 1,
  });
  const conn = await pool.acquire();
  const pid = await backendPid({ query: (text) => conn.query(text) });
  const running = conn.query("select pg_sleep(600)").catch((error: unknown) => error);
  await until("the query runs", async () => (await sleepers(pid)) === 1);
  for (const socket of proxy.sockets) socket.resetAndDestroy();
  const error = await running;
  expect(error).toBeInstanceOf(ConnectionLostError);
  expect((error as Error).cause).toMatchObject({ code: "ECONNRESET" });
  expect(await pool.queryRow("select 1 as n")).toEqual({ n: 1 });
  await postgres.watch("select pg_terminate_backend($1)", [pid]);
  await pool.close();
  await proxy.close();
});

test("a wrong password is a ConnectError with the server's reason, and shows no password", async () => {
  const dsn = postgres.server.dsn.replace(postgres.server.password, "hunter2");
  const error = await openDbPool({ dsn }).catch((caught: unknown) => caught as Error);
  expect(error).toBeInstanceOf(ConnectError);
  expect((error as Error).cause).toMatchObject({ code: "28P01" });
  expect(String((error as Error).stack)).not.toContain("hunter2");
});

test("openDbPool fails with the cause when nothing listens", async () => {
  const down = await faultServer(() => undefined);
  await down.close();
  await expect(openDbPool({ dsn: `postgres://u:secret@127.0.0.1:${down.port}/db` })).rejects.toMatchObject({
    code: "ERR_VG_DB_CONNECT",
    message: expect.stringMatching(/^Pool 127\.0\.0\.1:\d+\/db: could not be opened: connect ECONNREFUSED/) as string,
    cause: { code: "ECONNREFUSED" },
  });
});

test("a server that never answers is named as that by openDbPool, once", async () => {
  const silent = await faultServer(() => undefined);
  const address = { host: "127.0.0.1", port: silent.port, user: "u", password: "p" };
  const error = await openDbPool({ ...address, acquireTimeoutMs: 50 }).catch((caught: unknown) => caught as Error);
  expect((error as Error).message).toMatch(
    /^Pool [^ ]+: could not be opened: no answer within \d+ ms\. Check the server's address, the database, the user and the password, and that the server is up\.$/,
  );
  expect((error as Error).cause).toBeInstanceOf(AcquireTimeoutError);
  await silent.close();
});

test("close serves who waits, refuses who comes later, and is the same for every caller", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const conn = await pool.acquire();
  const waiting = pool.queryRow("select 1 as n");
  const closing = pool.close();
  await expect(pool.query("select 1")).rejects.toThrow(PoolClosedError);
  expect(pool.ending).toBe(true);
  conn.release();
  expect(await waiting).toEqual({ n: 1 });
  const report = await closing;
  expect(report).toMatchObject({ drained: true, killed: [], killed_connections: 0, rejected_waiters: 0 });
  expect(await pool.close()).toMatchObject({ drained: true });
  expect(pool.ended).toBe(true);
  expect(pool.totalCount).toBe(0);
  await pool.end();
});

test("a ROLLBACK that close() has to cut off is reported as a kill", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const conn = await pool.acquire();
  const pid = await backendPid({ query: (text) => conn.query(text) });
  await conn.query("begin");
  process.kill(pid, "SIGSTOP");
  try {
    conn.release();
    const report = await pool.close({ deadlineMs: 20 });
    expect(report).toMatchObject({ drained: false, killed_connections: 1, killed: [{ process_id: pid }] });
  } finally {
    process.kill(pid, "SIGCONT");
  }
});

test("close with a stuck query kills it at the deadline and reports it", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const pid = await backendPid(pool);
  const stuck = pool.query("select pg_sleep(600)").catch((error: unknown) => error);
  const waiting = pool.query("select 1").catch((error: unknown) => error);
  const report = await pool.close({ deadlineMs: 50 });
  expect(report).toMatchObject({ drained: false, killed_connections: 1, rejected_waiters: 1 });
  expect(report.killed[0]?.process_id).toBe(pid);
  expect(await stuck).toBeInstanceOf(ConnectionLostError);
  expect(await waiting).toBeInstanceOf(PoolClosedError);
  const stats = pool.getStats();
  expect(stats).toMatchObject({ open_connections: 0, in_use: 0, pending: 0 });
  expect(stats.acquire_count).toBe(stats.release_count);
});

test("closing while a connection is being opened leaves nothing open", async () => {
  const silent = await faultServer(() => undefined);
  const pool = new DbPool({ host: "127.0.0.1", port: silent.port, user: "u", password: "p" });
  const waiting = pool.query("select 1").catch((error: unknown) => error);
  await until("the dial has reached the server", () => silent.sockets.size === 1);
  expect(await pool.destroy()).toMatchObject({ rejected_waiters: 1, killed_connections: 0 });
  expect(await waiting).toBeInstanceOf(PoolClosedError);
  await until("the socket is closed", () => silent.sockets.size === 0);
  await silent.close();
});

test("after close no connection of the pool is left on the server", async () => {
  const pool = postgres.pool({ application_name: "leaves-nothing", maxIdleConns: 10 });
  await Promise.all(Array.from({ length: 10 }, () => pool.query("select pg_sleep(0.01)")));
  expect(pool.idleCount).toBeGreaterThan(1);
  await pool.close();
  await until("the server has closed them", async () => {
    const { rows } = await postgres.watch("select 1 from pg_stat_activity where application_name = 'leaves-nothing'");
    return rows.length === 0;
  });
});

test("who waited under the limit of before is told of that limit, though configure() has changed it", async () => {
  const pool = postgres.pool({ maxOpenConns: 1, acquireTimeoutMs: 60 });
  await using _lent = await pool.acquire();
  const waiting = pool.acquire().catch((caught: unknown) => caught as Error);
  pool.configure({ acquireTimeoutMs: 9_000 });
  expect(((await waiting) as Error).message).toContain("(acquireTimeoutMs 60; ");
});
