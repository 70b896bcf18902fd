import { setImmediate as nextTurn, setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { afterEach, beforeEach, expect, test } from "vitest";
import {
  CommitUnknownError,
  ConnectionLostError,
  QueryTimeoutError,
  TransactionAbortedError,
  type DbPool,
  type DbPoolOptions,
} from "../src/index.ts";
import { requestCancel } from "../src/protocol/cancel-request.ts";
import { CancelCounts, giveUp, recovery, setCancellation } from "../src/query/cancellation.ts";
import { backendPid, until, usePostgres } from "./support.ts";
import { watchedPath, type WatchedPath } from "./watched-path.ts";

const postgres = usePostgres();

const stray: unknown[] = [];
const collect = (error: unknown): void => void stray.push(error);
beforeEach(() => {
  stray.length = 0;
  process.on("uncaughtException", collect);
  process.on("unhandledRejection", collect);
});
afterEach(() => {
  process.off("uncaughtException", collect);
  process.off("unhandledRejection", collect);
  expect(stray).toEqual([]);
});

const caught = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    (value) => ({ value }),
    (error: unknown) => error,
  );

const active = async (pid: number): Promise<boolean> => {
  const { rows } = await postgres.watch("select 1 from pg_stat_activity where pid = $1 and state = 'active'", [pid]);
  return rows.length === 1;
};

/** A pool of one connection, which may take its time to recover on a loaded machine, and the process that serves it. */
async function single(options: DbPoolOptions = {}): Promise<{ pool: DbPool; pid: number }> {
  const pool = postgres.pool({ maxOpenConns: 1, cancelTimeoutMs: 60_000, resetTimeoutMs: 60_000, ...options });
  return { pool, pid: await backendPid(pool) };
}

/** As `single`, over a path that shows and treats its CancelRequests. */
async function singleOver(path: WatchedPath, options: DbPoolOptions = {}): Promise<{ pool: DbPool; pid: number }> {
  const dsn = postgres.server.dsn.replace(`:${postgres.server.port}/`, `:${path.port}/`);
  return single({ dsn, ...options });
}

/** Freezes a backend, which takes no CancelRequest then, for the time of some work. */
async function frozen(pid: number, work: () => Promise<void>): Promise<void> {
  process.kill(pid, "SIGSTOP");
  try {
    await work();
  } finally {
    process.kill(pid, "SIGCONT");
  }
}

test("a query that is aborted, or outlasts its time, is stopped on the server and costs no connection", async () => {
  const { pool, pid } = await single();
  const controller = new AbortController();
  const running = caught(pool.query("select pg_sleep(600)", [], { signal: controller.signal }));
  await until("the query runs", () => active(pid));
  const reason = new Error("the client hung up");
  controller.abort(reason);
  expect(await running).toBe(reason);
  expect(pool.getStats()).toMatchObject({ in_use: 1, idle: 0 });
  expect(await backendPid(pool)).toBe(pid);
  await expect(pool.query("select pg_sleep(600)", [], { timeoutMs: 20 })).rejects.toThrow(QueryTimeoutError);
  expect(await backendPid(pool)).toBe(pid);
  await until("all is quiet", () => pool.getStats().idle === 1);
  expect(pool.getStats()).toMatchObject({ create_count: 1, broken_closed: 0, dirty_closed: 0, in_use: 0 });
});

test("the caller of an aborted query is rejected before anything is known of its cancellation", async () => {
  const { pool, pid } = await single();
  await frozen(pid, async () => {
    const controller = new AbortController();
    const running = caught(pool.query("select 1", [], { signal: controller.signal }));
    await nextTurn();
    controller.abort();
    expect(await running).toBe(controller.signal.reason);
    expect(pool.getStats()).toMatchObject({ in_use: 1, broken_closed: 0 });
  });
  expect(await backendPid(pool)).toBe(pid);
});

test("a server that does not stop a query costs its connection after cancelTimeoutMs, and the next caller gets another", async () => {
  const { pool, pid } = await single({ cancelTimeoutMs: 100 });
  await frozen(pid, async () => {
    await expect(pool.query("select 1", [], { timeoutMs: 20 })).rejects.toThrow(QueryTimeoutError);
    expect(await pool.queryRow("select 1 as n", [], { timeoutMs: 10_000 })).toEqual({ n: 1 });
    expect(pool.getStats()).toMatchObject({ create_count: 2, broken_closed: 1, in_use: 0, idle: 1 });
  });
});

test("a CancelRequest that overtakes its query, and finds nothing to cancel, is repeated", async () => {
  const { pool, pid } = await single();
  await frozen(pid, async () => {
    // The backend finds the signal first when it wakes up, and reads the query then.
    await expect(pool.query("select pg_sleep(600)", [], { timeoutMs: 20 })).rejects.toThrow(QueryTimeoutError);
  });
  expect(await backendPid(pool)).toBe(pid);
});

test("where CancelRequests vanish, a query that goes on costs its connection, and one that ends costs none", async () => {
  const path = await watchedPath(postgres.server, { onCancel: () => undefined });
  const { pool, pid } = await singleOver(path, { cancelTimeoutMs: 200 });
  await expect(pool.query("select pg_sleep(600)", [], { timeoutMs: 20 })).rejects.toThrow(QueryTimeoutError);
  const second = await backendPid(pool);
  expect(second).not.toBe(pid);
  expect(path.cancels).toBe(1);
  expect(pool.getStats()).toMatchObject({ create_count: 2, broken_closed: 1, open_connections: 1 });
  await postgres.watch("select pg_terminate_backend($1)", [pid]);
  // This one ends, but its request is still on its way: it would hit whoever comes next.
  await expect(pool.query("select pg_sleep(0.1)", [], { timeoutMs: 20 })).rejects.toThrow(QueryTimeoutError);
  expect(await backendPid(pool)).not.toBe(second);
  await pool.close();
  await path.close();
});

test("where no side connection can be made, a query that ends in time costs no connection", async () => {
  const path = await watchedPath(postgres.server, { onCancel: (_forward, socket) => socket.resetAndDestroy() });
  const { pool, pid } = await singleOver(path);
  const conn = await pool.acquire();
  const { client } = conn;
  // A closed port. The client is connected already.
  client.port = 1;
  client.host = "localhost";
  await expect(conn.query("select pg_sleep(0.1)", [], { timeoutMs: 20 })).rejects.toThrow(QueryTimeoutError);
  expect(await conn.queryRow("select pg_backend_pid() as pid")).toEqual({ pid });
  // A reset after the request says nothing of what became of it.
  client.port = path.port;
  await expect(conn.query("select pg_sleep(0.1)", [], { timeoutMs: 20 })).rejects.toThrow(QueryTimeoutError);
  await expect(conn.query("select 1")).rejects.toThrow(ConnectionLostError);
  expect(path.cancels).toBe(1);
  conn.release();
  await pool.close();
  await path.close();
});

test("a CancelRequest goes to the address of the connection, whatever its name has come to mean", async () => {
  const { pool, pid } = await single();
  const conn = await pool.acquire();
  conn.client.host = "elsewhere.invalid";
  await expect(conn.query("select pg_sleep(600)", [], { timeoutMs: 20 })).rejects.toThrow(QueryTimeoutError);
  expect(await conn.queryRow("select pg_backend_pid() as pid")).toEqual({ pid });
  conn.release();
});

test("with cancelTimeoutMs 0 the connection is closed at once, and the query still stopped on the server", async () => {
  const { pool, pid } = await single({ cancelTimeoutMs: 0 });
  await expect(pool.query("select pg_sleep(600)", [], { timeoutMs: 20 })).rejects.toThrow(QueryTimeoutError);
  await until("the slot is free", () => pool.getStats().open_connections === 0);
  await until("the server has stopped it", async () => !(await active(pid)));
  expect(await backendPid(pool)).not.toBe(pid);
});

test("a cancellation that comes after its query has ended is absorbed, and hits nobody", async () => {
  const error = Buffer.from("SERROR\0C57014\0Mcanceling statement due to user request\0\0");
  const header = Buffer.from([0x45, 0, 0, 0, error.length + 4]);
  const late = Buffer.concat([header, error, Buffer.from([0x5a, 0, 0, 0, 5, 0x49])]);
  const ping = Buffer.from([0x51, 0, 0, 0, 5, 0]);
  let pings = 0;
  const path = await watchedPath(postgres.server, {
    answer: (message) => (message.equals(ping) && ++pings === 1 ? late : undefined),
  });
  const { pool, pid } = await singleOver(path);
  await expect(pool.query("select pg_sleep(600)", [], { timeoutMs: 20 })).rejects.toThrow(QueryTimeoutError);
  expect(await backendPid(pool)).toBe(pid);
  expect(pings).toBe(1);
  await pool.close();
  await path.close();
});

test("a query that ends before the side connection stands is not cancelled at all", async () => {
  const path = await watchedPath(postgres.server);
  const { pool } = await singleOver(path);
  const conn = await pool.acquire();
  let asked = 0;
  const isWanted = (): boolean => ++asked === 0;
  expect(await requestCancel(conn.client, { timeoutMs: 10_000, isWanted })).toBe("unsent");
  expect(asked).toBe(1);
  conn.release();
  await pool.close();
  await path.close();
  expect(path.cancels).toBe(0);
});

for (const pipeline of [false, true]) {
  const how = pipeline ? ", those without a signal pipelined" : "";
  test(`thousands of short queries with random aborts on few connections${how}: no other one is ever cancelled`, async () => {
    const pool = postgres.pool({ maxOpenConns: 3, pipeline, cancelTimeoutMs: 60_000, resetTimeoutMs: 60_000 });
    // Deterministic, so that a failure can be had again.
    let state = 4_711;
    const random = (): number => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
      return state / 0x7fff_ffff;
    };
    const counts = { asked: 0, answered: 0, aborted: 0 };
    type Query = (text: string, values: number[], options?: { signal: AbortSignal }) => Promise<pg.QueryResult>;
    const ask = async (query: Query): Promise<void> => {
      const n = counts.asked++;
      const text = random() < 0.5 ? "select $1::int as n" : `select $1::int as n from pg_sleep($2)`;
      const values = text.includes("$2") ? [n, random() * 0.002] : [n];
      if (random() < 0.5) {
        expect((await query(text, values)).rows).toEqual([{ n }]);
        counts.answered++;
        return;
      }
      const controller = new AbortController();
      const reason = new Error("given up");
      const outcome = caught(query(text, values, { signal: controller.signal }));
      // From before the query is sent to after it is answered.
      if (random() < 0.5) await delay(random() * 3);
      else for (let turns = Math.floor(random() * 12); turns > 0; turns--) await nextTurn();
      controller.abort(reason);
      const result = await outcome;
      if (result === reason) counts.aborted++;
      else expect(result).toMatchObject({ value: { rows: [{ n }] } });
    };
    const worker = async (): Promise<void> => {
      for (let i = 0; i < 400; i++) await ask((...call) => pool.query(...call));
    };
    const holder = async (): Promise<void> => {
      await using conn = await pool.acquire();
      for (let i = 0; i < 400; i++) await ask((...call) => conn.query(...call));
    };
    await Promise.all([...Array.from({ length: 6 }, worker), holder()]);
    expect(counts.answered).toBeGreaterThan(1_000);
    expect(counts.aborted).toBeGreaterThan(500);
    await until("all is quiet", () => pool.getStats().in_use === 0);
    const { create_count, broken_closed, dirty_closed, acquire_count, release_count } = pool.getStats();
    expect({ broken_closed, dirty_closed }).toEqual({ broken_closed: 0, dirty_closed: 0 });
    expect(create_count).toBeLessThanOrEqual(3);
    expect(acquire_count).toBe(release_count);
  });
}

test("a batch that was given up is cancelled as one, and costs no connection", async () => {
  const { pool, pid } = await single();
  await pool.exec("create table batched (n int)");
  const batch = ["insert into batched values (1)", "select pg_sleep(600)", "insert into batched values (2)"];
  await expect(pool.batch(batch, { timeoutMs: 20 })).rejects.toThrow(QueryTimeoutError);
  // pg runs this one, statement by statement, because of what only pg understands.
  const pgs = [...batch, Object.assign({ text: "select 1" }, { queryMode: "extended" })];
  await expect(pool.batch(pgs, { timeoutMs: 20 })).rejects.toThrow(QueryTimeoutError);
  await expect(
    pool.transaction(async (tx) => {
      await tx.batch(batch, { timeoutMs: 20 }).catch(() => undefined);
    }),
  ).rejects.toThrow(TransactionAbortedError);
  expect(await pool.queryRow("select count(*)::int as n from batched")).toEqual({ n: 0 });
  expect(await backendPid(pool)).toBe(pid);
});

test("the next statement on the same connection waits for the recovery, within its own limits", async () => {
  const { pool, pid } = await single();
  const conn = await pool.acquire();
  await conn.exec("create temporary table kept (n int)");
  await expect(conn.query("select pg_sleep(600)", [], { timeoutMs: 20 })).rejects.toThrow(QueryTimeoutError);
  // The session is the same one.
  expect(await conn.exec("insert into kept values (1)")).toBe(1);
  await frozen(pid, async () => {
    await expect(conn.query("select 1", [], { timeoutMs: 20 })).rejects.toThrow("is asked to cancel it");
    await expect(conn.query("select 2", [], { timeoutMs: 20 })).rejects.toThrow("was never sent");
    const controller = new AbortController();
    const waiting = caught(conn.query("select 3", [], { signal: controller.signal }));
    await nextTurn();
    controller.abort();
    expect(await waiting).toBe(controller.signal.reason);
  });
  expect(await conn.queryRow("select count(*)::int as n from kept")).toEqual({ n: 1 });
  conn.release();
  expect(await backendPid(pool)).toBe(pid);
});

test("what is put into pg's own queue after a query was given up runs after it, and is not cancelled", async () => {
  const { pool } = await single();
  const conn = await pool.acquire();
  await expect(conn.query("select pg_sleep(600)", [], { timeoutMs: 20 })).rejects.toThrow(QueryTimeoutError);
  const { rows } = await conn.client.query("select 7 as n from pg_sleep(0.05)");
  expect(rows).toEqual([{ n: 7 }]);
  // What is in it before cannot be told apart by a CancelRequest.
  const running = caught(conn.query("select pg_sleep(600)", [], { timeoutMs: 20 }));
  const behind = caught(conn.client.query("select 8 as n"));
  expect(await running).toBeInstanceOf(QueryTimeoutError);
  expect(await behind).toMatchObject({ message: "Connection terminated unexpectedly" });
  conn.release();
  expect(pool.getStats()).toMatchObject({ open_connections: 0, in_use: 0 });
});

test("a connection that is discarded, or dies, while it recovers is gone at once", async () => {
  const path = await watchedPath(postgres.server, { onCancel: () => undefined });
  const { pool } = await singleOver(path);
  const conn = await pool.acquire();
  await expect(conn.query("select pg_sleep(600)", [], { timeoutMs: 20 })).rejects.toThrow(QueryTimeoutError);
  conn.discard();
  expect(pool.getStats()).toMatchObject({ open_connections: 0, broken_closed: 1 });
  const pid = await backendPid(pool);
  await expect(pool.query("select pg_sleep(600)", [], { timeoutMs: 20 })).rejects.toThrow(QueryTimeoutError);
  expect(pool.getStats()).toMatchObject({ in_use: 1 });
  await postgres.watch("select pg_terminate_backend(pid) from pg_stat_activity where query = 'select pg_sleep(600)'");
  await until("the pool notices", () => pool.getStats().open_connections === 0);
  expect(await backendPid(pool)).not.toBe(pid);
  expect(pool.getStats()).toMatchObject({ in_use: 0, idle: 1, create_count: 3 });
  await pool.close();
  await path.close();
});

test("close() waits for a recovery, and cuts it off at its deadline", async () => {
  const patient = await single();
  await expect(patient.pool.query("select pg_sleep(600)", [], { timeoutMs: 20 })).rejects.toThrow(QueryTimeoutError);
  expect(await patient.pool.close()).toMatchObject({ drained: true, killed_connections: 0 });
  const stuck = await single();
  await frozen(stuck.pid, async () => {
    await expect(stuck.pool.query("select 1", [], { timeoutMs: 20 })).rejects.toThrow(QueryTimeoutError);
    expect(await stuck.pool.close({ deadlineMs: 50 })).toMatchObject({ drained: false, killed_connections: 1 });
  });
});

test("requests, connections that recovered and connections that were closed are counted; strangers' clients are closed", async () => {
  const counts = new CancelCounts();
  const connected = async (timeoutMs?: number): Promise<pg.Client> => {
    const client = new pg.Client(postgres.server.dsn);
    client.on("error", () => undefined);
    await client.connect();
    if (timeoutMs !== undefined) setCancellation(client, { timeoutMs, counts });
    return client;
  };
  const [kept, closed, unknown] = await Promise.all([connected(60_000), connected(0), connected()]);
  const outcomes = [kept, closed, unknown].map((client) => caught(client.query("select pg_sleep(600)")));
  for (const client of [kept, closed, unknown]) giveUp(client);
  expect(recovery(closed)).toBeUndefined();
  expect(await recovery(kept)).toBe(true);
  expect(recovery(kept)).toBeUndefined();
  const [first, second, third] = await Promise.all(outcomes);
  expect(first).toMatchObject({ code: "57014" });
  for (const outcome of [second, third])
    expect(outcome).toMatchObject({ message: expect.stringContaining("terminated") as string });
  await until("both requests have been written", () => counts.sent >= 2);
  expect(counts).toMatchObject({ recovered: 1, destroyed: 1 });
  giveUp(closed);
  expect(counts.destroyed).toBe(1);
  await kept.end();
});

test("no listener stays behind on a client, its connection or a signal", async () => {
  const { pool } = await single();
  const controllers = [new AbortController(), new AbortController()] as const;
  const conn = await pool.acquire();
  const { client } = conn;
  const count = (): Record<string, number> => {
    const { connection } = client as unknown as { connection: NodeJS.EventEmitter & { stream: NodeJS.EventEmitter } };
    const emitters = { client, connection, stream: connection.stream };
    const counted: Record<string, number> = {};
    for (const [name, emitter] of Object.entries(emitters)) {
      for (const event of emitter.eventNames()) {
        const listeners = emitter.listenerCount(event);
        if (listeners > 0) counted[`${name} ${String(event)}`] = listeners;
      }
    }
    return counted;
  };
  await conn.query("select 1");
  const before = count();
  for (let i = 0; i < 20; i++) {
    await expect(conn.query("select pg_sleep(600)", [], { timeoutMs: 5 })).rejects.toThrow(QueryTimeoutError);
    await conn.query("select 1", [], { signal: controllers[0].signal });
  }
  const running = caught(conn.query("select pg_sleep(600)", [], { signal: controllers[1].signal }));
  await nextTurn();
  controllers[1].abort();
  await running;
  await conn.query("select 1");
  expect(count()).toEqual(before);
  conn.release();
});

// ---- Transactions ------------------------------------------------------------------------------------------------------

test("a statement that was given up fails its transaction, which a savepoint or rollback() ends well", async () => {
  const { pool, pid } = await single();
  await pool.exec("create table given_up (n int)");
  const tx = await pool.begin();
  await tx.exec("insert into given_up values (1)");
  const savepoint = await tx.savepoint();
  await expect(tx.query("select pg_sleep(600)", [], { timeoutMs: 20 })).rejects.toThrow(QueryTimeoutError);
  await expect(tx.query("select 1")).rejects.toMatchObject({ code: "25P02" });
  await savepoint.rollback();
  await tx.exec("insert into given_up values (2)");
  await tx.commit();
  const second = await pool.begin();
  await second.exec("insert into given_up values (3)");
  await expect(second.query("select pg_sleep(600)", [], { timeoutMs: 20 })).rejects.toThrow(QueryTimeoutError);
  await second.rollback();
  expect((await pool.query("select n from given_up order by n")).rows).toEqual([{ n: 1 }, { n: 2 }]);
  expect(await backendPid(pool)).toBe(pid);
});

test("a statement that ends before it could be cancelled fails its transaction as well", async () => {
  const { pool, pid } = await single();
  await pool.exec("create table ended_anyway (n int)");
  for (const end of ["commit", "rollback"] as const) {
    const tx = await pool.begin();
    const controller = new AbortController();
    const running = caught(tx.exec("insert into ended_anyway values (1)", [], { signal: controller.signal }));
    controller.abort();
    expect(await running).toBe(controller.signal.reason);
    if (end === "rollback") await tx.rollback();
    else {
      const error = await caught(tx.commit());
      expect(error).toBeInstanceOf(TransactionAbortedError);
      expect((error as Error).cause).toBe(controller.signal.reason);
    }
  }
  expect(await pool.queryRow("select count(*)::int as n from ended_anyway")).toEqual({ n: 0 });
  expect(await backendPid(pool)).toBe(pid);
});

test("a COMMIT that outlasts its time is not cancelled: it takes effect, and its caller is told that nobody knows", async () => {
  const path = await watchedPath(postgres.server);
  const { pool } = await singleOver(path);
  await pool.exec("create table slow (n int)");
  await pool.exec(`create function be_slow() returns trigger language plpgsql as $$
    begin perform pg_sleep(0.3); return null; end $$`);
  await pool.exec(`create constraint trigger slow after insert on slow deferrable initially deferred
    for each row execute function be_slow()`);
  const tx = await pool.begin();
  await tx.exec("insert into slow values (1)");
  const error = await caught(tx.commit({ timeoutMs: 20 }));
  expect(error).toBeInstanceOf(CommitUnknownError);
  expect((error as Error).message).toContain("its connection was closed");
  await until("the server has committed", async () => (await pool.exec("select 1 from slow")) === 1);
  expect(path.cancels).toBe(0);
  expect(pool.getStats()).toMatchObject({ create_count: 2, in_use: 0 });
  await pool.close();
  await path.close();
});

test("a COMMIT that was never sent is not one of unknown outcome", async () => {
  const { pool, pid } = await single({ cancelTimeoutMs: 100 });
  const tx = await pool.begin();
  await frozen(pid, async () => {
    const running = caught(tx.query("select 1", [], { timeoutMs: 20 }));
    const committing = caught(tx.commit());
    expect(await running).toBeInstanceOf(QueryTimeoutError);
    expect(await committing).toBeInstanceOf(ConnectionLostError);
    expect(pool.getStats()).toMatchObject({ in_use: 0, open_connections: 0 });
  });
});

test("a transaction() that is aborted, or outlasts its time, rejects before the server has answered", async () => {
  const { pool, pid } = await single();
  await pool.exec("create table left_early (n int)");
  await frozen(pid, async () => {
    const controller = new AbortController();
    const running = caught(pool.transaction((tx) => tx.query("select 1"), { signal: controller.signal }));
    await nextTurn();
    controller.abort();
    expect(await running).toBe(controller.signal.reason);
    expect(pool.getStats()).toMatchObject({ in_use: 1 });
  });
  let stop = (): void => undefined;
  const running = pool.transaction(
    async (tx) => {
      await tx.exec("insert into left_early values (1)");
      process.kill(pid, "SIGSTOP");
      stop = () => process.kill(pid, "SIGCONT");
      await tx.query("select 2");
    },
    { timeoutMs: 300 },
  );
  await expect(running).rejects.toThrow("the transaction did not end within 300 ms");
  expect(pool.getStats()).toMatchObject({ in_use: 1 });
  stop();
  expect(await pool.queryRow("select count(*)::int as n from left_early")).toEqual({ n: 0 });
  expect(await backendPid(pool)).toBe(pid);
});

test("a query that runs when its pool is destroyed, or that nobody awaited before the release, stops on the server too", async () => {
  const running = async (mark: string): Promise<number> => {
    const { rows } = await postgres.watch("select 1 from pg_stat_activity where state = 'active' and query = $1", [
      `select pg_sleep(600) as ${mark}`,
    ]);
    return rows.length;
  };
  const pool = postgres.pool({ maxOpenConns: 2 });
  const forgetful = await pool.connect();
  const forgotten = forgetful.query("select pg_sleep(600) as forgotten").catch((error: unknown) => error);
  await until("the one runs", async () => (await running("forgotten")) === 1);
  forgetful.release();
  await until("the one has stopped", async () => (await running("forgotten")) === 0);
  expect(await forgotten).toBeInstanceOf(Error);
  const killed = pool.query("select pg_sleep(600) as killed").catch((error: unknown) => error);
  await until("the other runs", async () => (await running("killed")) === 1);
  await pool.destroy();
  expect(await killed).toBeInstanceOf(Error);
  await until("the other has stopped", async () => (await running("killed")) === 0);
});
