import { Logger, makeWorkerUtils, run, runOnce, type TaskList } from "graphile-worker";
import { expect, test } from "vitest";
import { until } from "../support.ts";
import { useLibrary } from "./support.ts";

const library = useLibrary("graphile-worker");
const logger = new Logger(() => () => undefined);
// graphile-worker warns of a pool that nobody listens to.
const ignore = (): void => undefined;

test("graphile-worker: migrates, and runs jobs that succeed and that fail", async () => {
  const pool = library.pool().on("error", ignore).on("connect", ignore);
  const utils = await makeWorkerUtils({ pgPool: pool, logger });
  await utils.migrate();
  const greeted: unknown[] = [];
  const taskList: TaskList = {
    greet: async (payload, { withPgClient }) => {
      const { rows } = await withPgClient((client) => client.query("select $1::jsonb as payload", [payload]));
      greeted.push((rows[0] as { payload: unknown }).payload);
    },
    fail: () => Promise.reject(new Error("on purpose")),
  };
  await utils.addJob("greet", { name: "Ada" });
  await utils.addJob("fail", {}, { maxAttempts: 1 });
  await pool.transaction(async (tx) => {
    await tx.query("select graphile_worker.add_job('greet', json_build_object('name', 'Bob'))");
  });
  await runOnce({ pgPool: pool, taskList, logger });
  expect(greeted).toEqual([{ name: "Ada" }, { name: "Bob" }]);
  const { rows } = await pool.query("select task_identifier, last_error from graphile_worker.jobs");
  expect(rows).toMatchObject([
    { task_identifier: "fail", last_error: expect.stringContaining("on purpose") as string },
  ]);
  await utils.release();
  expect(pool.ended).toBe(false);
  await library.whole(pool);
});

test("graphile-worker: a runner is woken by LISTEN, survives the loss of its sessions, and gives everything back", async () => {
  const pool = library.pool().on("error", ignore).on("connect", ignore);
  const done: number[] = [];
  const runner = await run({
    pgPool: pool,
    logger,
    concurrency: 2,
    pollInterval: 600_000,
    noHandleSignals: true,
    taskList: {
      count: async (payload) => void done.push((payload as { n: number }).n),
    },
  });
  const listeners = `select pid from pg_stat_activity where query like 'LISTEN%' and application_name = $1`;
  const listening = async (): Promise<number | undefined> => {
    const [row] = (await library.watch(listeners, [pool.options.application_name])) as { pid: number }[];
    return row?.pid;
  };
  let first: number | undefined;
  await until("it listens", async () => (first = await listening()) !== undefined);
  for (const n of [1, 2, 3]) await runner.addJob("count", { n });
  await until("all were counted", () => done.length === 3);
  await library.watch("select pg_terminate_backend($1)", [first]);
  await until("it listens again", async () => {
    const next = await listening();
    return next !== undefined && next !== first;
  });
  await runner.addJob("count", { n: 4 });
  await until("the last was counted", () => done.length === 4);
  await runner.stop();
  expect(done.toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4]);
  await library.whole(pool);
});
