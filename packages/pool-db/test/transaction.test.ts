import { expect, test } from "vitest";
import {
  AcquireTimeoutError,
  CommitUnknownError,
  PoolConfigError,
  QueryTimeoutError,
  TransactionAbortedError,
  TransactionStateError,
  type IsolationLevel,
  type Tx,
} from "../src/index.ts";
import { transactionStatusOf } from "../src/protocol/pg-client.ts";
import { backendPid, until, usePostgres } from "./support.ts";
import { watchedPath } from "./watched-path.ts";

const postgres = usePostgres();

test("what is committed stays, what is rolled back goes", async () => {
  const pool = postgres.pool();
  await pool.exec("create table kept (n int)");
  const first = await pool.begin();
  await first.exec("insert into kept values (1)");
  await first.commit();
  const second = await pool.begin();
  await second.exec("insert into kept values (2)");
  await second.rollback();
  expect((await pool.query("select n from kept")).rows).toEqual([{ n: 1 }]);
  expect(pool.getStats()).toMatchObject({ in_use: 0, open_connections: 1 });
});

test("leaving an await using block without a commit rolls back and gives the connection back", async () => {
  const pool = postgres.pool();
  await pool.exec("create table scoped (n int)");
  const failing = async (): Promise<void> => {
    await using tx = await pool.begin();
    await tx.exec("insert into scoped values (1)");
    throw new Error("half-way");
  };
  await expect(failing()).rejects.toThrow("half-way");
  expect(await pool.queryRow("select count(*)::int as n from scoped")).toEqual({ n: 0 });
  expect(pool.getStats()).toMatchObject({ in_use: 0, dirty_closed: 0 });
});

test("isolation and readOnly reach the server", async () => {
  const pool = postgres.pool();
  for (const isolation of ["read uncommitted", "read committed", "repeatable read", "serializable"] as const) {
    await using tx = await pool.begin({ isolation, readOnly: true });
    expect(await tx.queryRow("show transaction_isolation")).toEqual({ transaction_isolation: isolation });
    await expect(tx.exec("create table forbidden (n int)")).rejects.toMatchObject({ code: "25006" });
  }
  await expect(pool.begin({ isolation: "serializable; drop table users" as IsolationLevel })).rejects.toThrow(
    PoolConfigError,
  );
});

test("deferrable reaches the server, and is refused where it would have no effect", async () => {
  const pool = postgres.pool();
  await using tx = await pool.begin({ isolation: "serializable", readOnly: true, deferrable: true });
  expect(await tx.queryRow("show transaction_deferrable")).toEqual({ transaction_deferrable: "on" });
  await pool.transaction(async (plain) => expect(await plain.exec("select 1")).toBe(1), { deferrable: false });
  for (const options of [{}, { isolation: "serializable" }, { readOnly: true }] as const) {
    const refused = pool.begin({ ...options, deferrable: true });
    await expect(refused).rejects.toThrow('only with isolation: "serializable" and readOnly: true');
  }
  await expect(pool.transaction(async () => 1, { deferrable: 1 as never })).rejects.toThrow(PoolConfigError);
  expect(pool.getStats()).toMatchObject({ in_use: 1, open_connections: 2 });
});

test("after its end every use of a transaction is refused, and its statement never runs", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  await pool.exec("create table late (n int)");
  const tx = await pool.begin();
  const savepoint = await tx.savepoint();
  const committing = tx.commit();
  const lateQuery = tx.exec("insert into late values (1)");
  await expect(lateQuery).rejects.toThrow(TransactionStateError);
  await committing;
  for (const use of [() => tx.query("select 1"), () => tx.commit(), () => tx.rollback(), () => tx.savepoint()]) {
    await expect(use()).rejects.toMatchObject({ code: "ERR_VG_DB_TRANSACTION_STATE" });
  }
  await expect(savepoint.rollback()).rejects.toThrow(TransactionStateError);
  await tx[Symbol.asyncDispose]();
  expect(await pool.queryRow("select count(*)::int as n from late")).toEqual({ n: 0 });
  expect(pool.getStats()).toMatchObject({ in_use: 0, dirty_closed: 0, broken_closed: 0 });
});

test("a COMMIT that the server answers with ROLLBACK is an error that names the statement's", async () => {
  const pool = postgres.pool();
  const tx = await pool.begin();
  await tx.query("select 1 / 0").catch(() => undefined);
  const error = await tx.commit().catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(TransactionAbortedError);
  expect((error as Error).cause).toMatchObject({ code: "22012" });
  expect(pool.getStats().in_use).toBe(0);
});

test("a deferred constraint that fails at COMMIT is the server's error, and the connection lives", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  await pool.exec("create table deferred (n int unique deferrable initially deferred)");
  const pid = await backendPid(pool);
  const tx = await pool.begin();
  await tx.exec("insert into deferred values (1), (1)");
  await expect(tx.commit()).rejects.toMatchObject({ code: "23505" });
  expect(await backendPid(pool)).toBe(pid);
});

test("a savepoint undoes a failed statement and lets the transaction go on", async () => {
  const pool = postgres.pool();
  await pool.exec("create table steps (n int primary key)");
  await using tx = await pool.begin();
  await tx.exec("insert into steps values (1)");
  const savepoint = await tx.savepoint();
  await expect(tx.exec("insert into steps values (1)")).rejects.toMatchObject({ code: "23505" });
  await savepoint.rollback();
  await expect(savepoint.rollback()).rejects.toThrow(TransactionStateError);
  {
    await using scoped = await tx.savepoint();
    await tx.exec("insert into steps values (2)");
    expect(scoped.name).toBe("vg_savepoint_2");
  }
  const kept = await tx.savepoint();
  await tx.exec("insert into steps values (3)");
  await kept.release();
  await tx.commit();
  expect((await pool.query("select n from steps order by n")).rows).toEqual([{ n: 1 }, { n: 3 }]);
});

test("an error in a transaction callback rolls back, comes out as it is, and costs no connection", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  await pool.exec("create table callback (n int)");
  const pid = await backendPid(pool);
  const failure = new Error("business says no");
  await expect(
    pool.transaction(async (tx) => {
      await tx.exec("insert into callback values (1)");
      throw failure;
    }),
  ).rejects.toBe(failure);
  expect(await pool.queryRow("select count(*)::int as n from callback")).toEqual({ n: 0 });
  expect(await backendPid(pool)).toBe(pid);
});

test("transaction() returns what its callback did, and lets the callback end it itself", async () => {
  const pool = postgres.pool();
  expect(await pool.transaction(async (tx) => tx.queryRow("select 5 as n"))).toEqual({ n: 5 });
  expect(
    await pool.transaction(async (tx) => {
      await tx.rollback();
      return "given up";
    }),
  ).toBe("given up");
  expect(pool.getStats().in_use).toBe(0);
});

/** Two transactions that read what the other writes: under "serializable" one must fail, at some point. */
async function collide(pool: ReturnType<typeof postgres.pool>, retries: number) {
  await pool.query("drop table if exists accounts");
  await pool.query("create table accounts as select 1 as id, 100 as balance union select 2, 100");
  let attempts = 0;
  let arrived = 0;
  let bothRead = (): void => undefined;
  const barrier = new Promise<void>((resolve) => {
    bothRead = resolve;
  });
  const withdraw = (id: number): Promise<void> =>
    pool.transaction(
      async (tx) => {
        attempts++;
        await tx.query("select sum(balance) from accounts");
        if (++arrived === 2) bothRead();
        await barrier;
        await tx.exec("update accounts set balance = balance - 10 where id = $1", [id]);
      },
      { isolation: "serializable", retries },
    );
  const results = await Promise.allSettled([withdraw(1), withdraw(2)]);
  return { attempts, results };
}

test("a serialization failure is thrown without retries", async () => {
  const { attempts, results } = await collide(postgres.pool(), 0);
  expect(attempts).toBe(2);
  const failed = results.filter((result) => result.status === "rejected");
  expect(failed).toHaveLength(1);
  expect(failed[0]?.reason).toMatchObject({ code: "40001" });
});

test("a serialization failure runs the whole transaction again where retries allow it", async () => {
  const pool = postgres.pool({ random: () => 0 });
  const { attempts, results } = await collide(pool, 3);
  expect(results.every(({ status }) => status === "fulfilled")).toBe(true);
  expect(attempts).toBe(3);
  expect((await pool.query("select balance from accounts order by id")).rows).toEqual([
    { balance: 90 },
    { balance: 90 },
  ]);
});

test("retries end, and the last error comes out", async () => {
  const pool = postgres.pool({ random: () => 0 });
  let attempts = 0;
  const always = pool.transaction(
    async (tx) => {
      attempts++;
      await tx.query("do $$ begin raise exception 'deadlock' using errcode = '40P01'; end $$");
    },
    { retries: 2 },
  );
  await expect(always).rejects.toMatchObject({ code: "40P01" });
  expect(attempts).toBe(3);
  await expect(pool.transaction(async () => undefined, { retries: -1 })).rejects.toThrow(PoolConfigError);
});

test("a connection that dies in a transaction frees its slot, and the transaction says so", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const tx = await pool.begin();
  const pid = await backendPid({ query: (text) => tx.query(text) });
  await postgres.watch("select pg_terminate_backend($1)", [pid]);
  await until("the pool notices", () => pool.getStats().open_connections === 0);
  expect(pool.getStats()).toMatchObject({ in_use: 0, acquire_count: 1, release_count: 1, broken_closed: 1 });
  await expect(tx.query("select 1")).rejects.toMatchObject({ code: "ERR_VG_DB_CONNECTION_LOST" });
  await tx.rollback();
  expect(await pool.queryRow("select 1 as n")).toEqual({ n: 1 });
});

test("a connection that is lost during COMMIT leaves the outcome open, and says so", async () => {
  const pool = postgres.pool();
  await pool.exec("create table slow_commit (n int)");
  await pool.query(`create function be_slow() returns trigger language plpgsql as $$
    begin perform pg_sleep(60); return null; end $$`);
  await pool.query(`create constraint trigger slow after insert on slow_commit deferrable initially deferred
    for each row execute function be_slow()`);
  const tx = await pool.begin();
  const pid = await backendPid({ query: (text) => tx.query(text) });
  await tx.exec("insert into slow_commit values (1)");
  const committing = tx.commit().catch((error: unknown) => error);
  await until("COMMIT runs", async () => {
    const { rows } = await postgres.watch("select query, state from pg_stat_activity where pid = $1", [pid]);
    return (rows[0] as { query: string }).query === "COMMIT";
  });
  await postgres.watch("select pg_terminate_backend($1)", [pid]);
  expect(await committing).toBeInstanceOf(CommitUnknownError);
  expect(pool.getStats().in_use).toBe(0);
});

test("a transaction whose signal is aborted is rolled back by its commit", async () => {
  const pool = postgres.pool();
  await pool.exec("create table aborted (n int)");
  const controller = new AbortController();
  const tx = await pool.begin({ signal: controller.signal });
  await tx.exec("insert into aborted values (1)");
  const reason = new Error("the caller left");
  controller.abort(reason);
  await expect(tx.query("select 1")).rejects.toBe(reason);
  await expect(tx.commit()).rejects.toBe(reason);
  expect(await pool.queryRow("select count(*)::int as n from aborted")).toEqual({ n: 0 });
  expect(pool.getStats().in_use).toBe(0);
});

test("rolling back an outer savepoint ends the inner one, and the transaction goes on", async () => {
  const pool = postgres.pool();
  await pool.exec("create table nested (n int)");
  await pool.transaction(async (tx) => {
    await tx.exec("insert into nested values (1)");
    const outer = await tx.savepoint();
    {
      await using inner = await tx.savepoint();
      await tx.exec("insert into nested values (2)");
      // Called in one go: the third is still being made when the first ends.
      const late = tx.savepoint();
      await outer.rollback();
      await expect(inner.release()).rejects.toThrow(TransactionStateError);
      await expect((await late).rollback()).rejects.toThrow("it has ended");
    }
    await tx.exec("insert into nested values (3)");
  });
  expect((await pool.query("select n from nested order by n")).rows).toEqual([{ n: 1 }, { n: 3 }]);
});

test("a COMMIT or ROLLBACK sent as a statement ends the transaction: what follows never runs outside of one", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  await pool.exec("create table raw (n int)");
  for (const text of ["commit", "rollback", "rollback; select nonsense"]) {
    const tx = await pool.begin();
    await tx.query(text).catch(() => undefined);
    const [late, later] = await Promise.allSettled([
      tx.exec("insert into raw values (1)"),
      tx.exec("insert into raw values (2)"),
    ]);
    expect(late).toMatchObject({ reason: { code: "ERR_VG_DB_TRANSACTION_STATE" } });
    expect(later).toMatchObject({ reason: { code: "ERR_VG_DB_TRANSACTION_STATE" } });
    expect(tx.ended).toBe(true);
    await expect(tx.commit()).rejects.toThrow("COMMIT or ROLLBACK of its own statements");
    expect(pool.getStats().in_use).toBe(0);
  }
  await expect(pool.transaction(async (tx) => tx.query("commit"))).rejects.toThrow(TransactionStateError);
  const refused = pool.transaction(async (tx) => {
    await tx.query("rollback");
    throw new Error("the caller's own");
  });
  await expect(refused).rejects.toThrow("the caller's own");
  expect(await pool.queryRow("select count(*)::int as n from raw")).toEqual({ n: 0 });
  expect(pool.getStats()).toMatchObject({ in_use: 0, create_count: 1 });
});

test("begin's timeoutMs bounds the wait for a connection", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const conn = await pool.acquire();
  await expect(pool.begin({ timeoutMs: 20 })).rejects.toThrow(AcquireTimeoutError);
  await expect(pool.transaction(async () => undefined, { timeoutMs: 20 })).rejects.toThrow(AcquireTimeoutError);
  conn.release();
  const tx = await pool.begin({ timeoutMs: 10_000 });
  await tx.commit();
  expect(pool.getStats()).toMatchObject({ timeout_count: 2, in_use: 0 });
});

test("a transaction that outlasts its timeoutMs rejects at once, rolls back and frees its connection", async () => {
  const pool = postgres.pool({ maxOpenConns: 1, cancelTimeoutMs: 60_000, resetTimeoutMs: 60_000 });
  await pool.exec("create table outlasted (n int)");
  let late: Promise<unknown> | undefined;
  let goOn = (): void => undefined;
  const elsewhere = new Promise<void>((resolve) => {
    goOn = resolve;
  });
  const stuckElsewhere = pool.transaction(
    async (tx) => {
      await tx.exec("insert into outlasted values (1)");
      await elsewhere;
      late = tx.exec("insert into outlasted values (2)").catch((error: unknown) => error);
      await late;
    },
    { timeoutMs: 500 },
  );
  await expect(stuckElsewhere).rejects.toThrow(QueryTimeoutError);
  expect(await pool.queryRow("select count(*)::int as n from outlasted")).toEqual({ n: 0 });
  goOn();
  await until("the late statement is refused", () => late !== undefined);
  expect(await late).toBeInstanceOf(TransactionStateError);
  const pid = await backendPid(pool);
  const stuckInQuery = pool.transaction((tx) => tx.query("select pg_sleep(600)"), { timeoutMs: 500, retries: 3 });
  await expect(stuckInQuery).rejects.toThrow("the transaction did not end within 500 ms");
  expect(await backendPid(pool)).toBe(pid);
  expect(pool.getStats().in_use).toBe(0);
});

test("a nested transaction refuses options, which it does not have", async () => {
  const pool = postgres.pool();
  const tx = await pool.begin();
  const loose = tx as unknown as { transaction(work: () => Promise<void>, options: unknown): Promise<void> };
  for (const options of [{ isolation: "serializable" }, null, 5]) {
    await expect(loose.transaction(async () => undefined, options)).rejects.toThrow(PoolConfigError);
  }
  await expect(loose.transaction(async () => undefined, { isolation: "serializable" })).rejects.toThrow(
    "got isolation",
  );
  await tx.rollback();
});

test("a commit that outlasts its timeoutMs leaves the outcome open, and says so", async () => {
  const pool = postgres.pool();
  const tx = await pool.begin();
  const pid = await backendPid({ query: (text) => tx.query(text) });
  process.kill(pid, "SIGSTOP");
  try {
    const error = await tx.commit({ timeoutMs: 20 }).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(CommitUnknownError);
    expect((error as Error).message).toContain(
      "COMMIT did not end within 20 ms; its connection was closed, so its outcome is unknown. Look in the database whether the transaction took effect before repeating it.",
    );
    expect(pool.getStats().in_use).toBe(0);
  } finally {
    process.kill(pid, "SIGCONT");
  }
});

// ---- Beginnings that fail -----------------------------------------------------------------------------------------------

test("a BEGIN that the server refuses, that is given up, or whose connection dies gives its slot back", async () => {
  const error = Buffer.from("SERROR\0C0A000\0Mno transactions today\0\0");
  const refusal = Buffer.concat([
    Buffer.from([0x45, 0, 0, 0, error.length + 4]),
    error,
    Buffer.from([0x5a, 0, 0, 0, 5, 0x49]),
  ]);
  let refuse = true;
  const path = await watchedPath(postgres.server, {
    answer: (message) => (refuse && message.includes("BEGIN") ? refusal : undefined),
  });
  const dsn = postgres.server.dsn.replace(`:${postgres.server.port}/`, `:${path.port}/`);
  const pool = postgres.pool({ dsn, maxOpenConns: 1, cancelTimeoutMs: 60_000, resetTimeoutMs: 60_000 });
  const pid = await backendPid(pool);
  const work = (): Promise<void> => Promise.reject(new Error("it never runs"));
  await expect(pool.begin()).rejects.toThrow("no transactions today");
  await expect(pool.transaction(work)).rejects.toMatchObject({ code: "0A000" });
  refuse = false;
  process.kill(pid, "SIGSTOP");
  try {
    await expect(pool.begin({ timeoutMs: 20 })).rejects.toThrow(QueryTimeoutError);
    expect(pool.getStats()).toMatchObject({ in_use: 1 });
  } finally {
    process.kill(pid, "SIGCONT");
  }
  expect(await backendPid(pool)).toBe(pid);
  const client = await pool.connect();
  expect(transactionStatusOf(client)).toBe("I");
  client.release();
  process.kill(pid, "SIGSTOP");
  const dying = Promise.allSettled([pool.begin(), pool.transaction(work)]);
  await postgres.watch("select pg_terminate_backend($1)", [pid]);
  process.kill(pid, "SIGCONT");
  const [first, second] = await dying;
  expect(first).toMatchObject({ status: "rejected", reason: { code: "57P01" } });
  expect(second).toMatchObject({ status: "rejected", reason: { message: "it never runs" } });
  const { acquire_count, release_count, in_use, open_connections } = pool.getStats();
  expect({ in_use, open_connections, leaked: acquire_count - release_count }).toEqual({
    in_use: 0,
    open_connections: 1,
    leaked: 0,
  });
  await pool.close();
  await path.close();
});

// ---- Nested -------------------------------------------------------------------------------------------------------------

test("a nested transaction stays with the one around it, or undoes itself only, to any depth", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  await pool.exec("create table layers (n int)");
  const failure = new Error("the third layer says no");
  const result = await pool.transaction(async (tx) => {
    await tx.exec("insert into layers values (1)");
    const inner = await tx.transaction(async (second) => {
      await second.exec("insert into layers values (2)");
      const third = second.transaction(async (deep) => {
        await deep.exec("insert into layers values (3)");
        await deep.transaction((deeper) => deeper.exec("insert into layers values (4)"));
        throw failure;
      });
      await expect(third).rejects.toBe(failure);
      await second.exec("insert into layers values (5)");
      return "from the second layer";
    });
    await tx.exec("insert into layers values (6)");
    return inner;
  });
  expect(result).toBe("from the second layer");
  const { rows } = await pool.query<{ n: number }>("select n from layers order by n");
  expect(rows.map(({ n }) => n)).toEqual([1, 2, 5, 6]);
  expect(pool.getStats()).toMatchObject({ in_use: 0, create_count: 1, dirty_closed: 0 });
});

test("while a nested transaction is open the ones around it refuse all but a rollback, which ends it too", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  await pool.exec("create table one_at_a_time (n int)");
  const tx = await pool.begin();
  const savepoint = await tx.savepoint();
  let nested: Tx | undefined;
  let goOn = (): void => undefined;
  const running = tx.transaction((inner) => {
    nested = inner;
    return new Promise<void>((resolve) => {
      goOn = resolve;
    });
  });
  // From the call on, not from when the server has answered.
  for (const use of [
    () => tx.query("select 1"),
    () => tx.transaction(async () => undefined),
    () => tx.savepoint(),
    () => savepoint.rollback(),
    () => tx.commit(),
  ]) {
    await expect(use()).rejects.toMatchObject({
      code: "ERR_VG_DB_TRANSACTION_STATE",
      message: expect.stringContaining("while one that is nested in it is open") as string,
    });
  }
  await nested?.exec("insert into one_at_a_time values (1)");
  await tx.rollback();
  expect(nested?.ended).toBe(true);
  await expect(nested?.exec("insert into one_at_a_time values (2)")).rejects.toThrow("was rolled back");
  goOn();
  await expect(running).rejects.toThrow(TransactionStateError);
  expect(await pool.queryRow("select count(*)::int as n from one_at_a_time")).toEqual({ n: 0 });
  expect(pool.getStats()).toMatchObject({ in_use: 0, create_count: 1 });
});

test("two nested transactions that overlap: the second is refused, and the whole rolls back with its error", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  await pool.exec("create table overlapping (n int)");
  const both = pool.transaction((tx) =>
    Promise.all([1, 2].map((n) => tx.transaction((inner) => inner.exec("insert into overlapping values ($1)", [n])))),
  );
  await expect(both).rejects.toThrow(TransactionStateError);
  expect(await pool.queryRow("select count(*)::int as n from overlapping")).toEqual({ n: 0 });
  expect(pool.getStats()).toMatchObject({ in_use: 0, create_count: 1 });
});

test("a nested transaction whose failed statement nobody noticed is undone and says so; the outer one goes on", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  await pool.exec("create table unnoticed (n int)");
  await pool.transaction(async (tx) => {
    await tx.exec("insert into unnoticed values (1)");
    const nested = tx.transaction(async (inner) => {
      await inner.exec("insert into unnoticed values (2)");
      await inner.query("select 1 / 0").catch(() => undefined);
    });
    const error = await nested.catch((caught: unknown) => caught as Error);
    expect(error).toBeInstanceOf(TransactionAbortedError);
    expect((error as Error).cause).toMatchObject({ code: "22012" });
    await tx.exec("insert into unnoticed values (3)");
  });
  expect((await pool.query("select n from unnoticed order by n")).rows).toEqual([{ n: 1 }, { n: 3 }]);
});

test("a nested transaction may end itself, have savepoints, and is refused after its end", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  await pool.exec("create table by_hand (n int)");
  await pool.transaction(async (tx) => {
    let late: Tx | undefined;
    await tx.transaction(async (inner) => {
      late = inner;
      await inner.exec("insert into by_hand values (1)");
      await inner.rollback();
      // Its end is the end of its hold on the outer one.
      await tx.exec("insert into by_hand values (2)");
    });
    await tx.transaction(async (inner) => {
      const savepoint = await inner.savepoint();
      await inner.exec("insert into by_hand values (3)");
      await savepoint.rollback();
      await inner.exec("insert into by_hand values (4)");
      await inner.commit();
      await expect(inner.commit()).rejects.toThrow("was committed");
    });
    for (const use of [() => late?.query("select 1"), () => late?.rollback(), () => late?.transaction(async () => 1)]) {
      await expect(use()).rejects.toThrow(TransactionStateError);
    }
    await expect(tx.transaction("no function" as never)).rejects.toThrow(PoolConfigError);
  });
  expect((await pool.query("select n from by_hand order by n")).rows).toEqual([{ n: 2 }, { n: 4 }]);
});

test("a COMMIT sent as a statement of a nested transaction ends all of them, and nothing runs outside", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  await pool.exec("create table raw_nested (n int)");
  const run = pool.transaction(async (tx) => {
    await tx.transaction((inner) => inner.query("commit"));
  });
  await expect(run).rejects.toThrow("COMMIT or ROLLBACK of its own statements");
  const swallowing = pool.transaction(async (tx) => {
    await tx.transaction(async (inner) => {
      await inner.query("rollback");
      await expect(inner.rollback()).rejects.toThrow(TransactionStateError);
    });
    await tx.exec("insert into raw_nested values (1)");
  });
  await expect(swallowing).rejects.toThrow(TransactionStateError);
  expect(await pool.queryRow("select count(*)::int as n from raw_nested")).toEqual({ n: 0 });
  expect(pool.getStats()).toMatchObject({ in_use: 0, create_count: 1 });
});

test("a statement that is given up in a nested transaction undoes that one only", async () => {
  const pool = postgres.pool({ maxOpenConns: 1, cancelTimeoutMs: 60_000 });
  await pool.exec("create table patient (n int)");
  await pool.transaction(async (tx) => {
    await tx.exec("insert into patient values (1)");
    const nested = tx.transaction(async (inner) => {
      await inner.exec("insert into patient values (2)");
      await inner.query("select pg_sleep(600)", [], { timeoutMs: 20 });
    });
    await expect(nested).rejects.toThrow(QueryTimeoutError);
    await tx.exec("insert into patient values (3)");
  });
  expect((await pool.query("select n from patient order by n")).rows).toEqual([{ n: 1 }, { n: 3 }]);
  expect(pool.getStats()).toMatchObject({ in_use: 0, create_count: 1 });
});

test("a connection that dies in a nested transaction ends all of them with the first error", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const run = pool.transaction(async (tx) => {
    await tx.transaction(async (inner) => {
      const pid = await backendPid({ query: (text) => inner.query(text) });
      await inner.query("select pg_terminate_backend($1)", [pid]);
    });
  });
  await expect(run).rejects.toMatchObject({ code: "57P01" });
  expect(await pool.queryRow("select 1 as n")).toEqual({ n: 1 });
  const { acquire_count, release_count, in_use } = pool.getStats();
  expect({ in_use, leaked: acquire_count - release_count }).toEqual({ in_use: 0, leaked: 0 });
});

test("a serialization failure within a nested transaction runs the whole again", async () => {
  const pool = postgres.pool({ random: () => 0 });
  await pool.exec("create table counter as select 0 as n");
  let attempts = 0;
  await pool.transaction(
    async (tx) => {
      attempts++;
      await tx.query("select n from counter");
      if (attempts === 1) await pool.exec("update counter set n = n + 1");
      await tx.transaction((inner) => inner.exec("update counter set n = n + 1"));
    },
    { isolation: "repeatable read", retries: 1 },
  );
  expect(attempts).toBe(2);
  expect(await pool.queryRow("select n from counter")).toEqual({ n: 2 });
});
