import { expect, test } from "vitest";
import { backendPid, until, usePostgres } from "./support.ts";
import type { DbPoolOptions } from "../src/index.ts";

const postgres = usePostgres();

type Line = { level: string; message: string; [field: string]: unknown };

function recorder(): { lines: Line[]; logger: NonNullable<DbPoolOptions["logger"]> } {
  const lines: Line[] = [];
  const at = (level: string) => (fields: object, message: string) => void lines.push({ level, message, ...fields });
  return { lines, logger: { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") } };
}

test("a logger that throws costs no connection, and the pool closes", async () => {
  const fail = (): never => {
    throw new Error("the disk is full");
  };
  const logger = { debug: fail, info: fail, warn: fail, error: fail };
  for (const given of [{ logger }, { log: fail }]) {
    const pool = postgres.pool({ maxOpenConns: 1, ...given });
    const conn = await pool.acquire();
    await conn.query("begin");
    conn.release();
    expect(await pool.queryRow("select 1 as n")).toEqual({ n: 1 });
    expect(pool.getStats()).toMatchObject({ in_use: 0, create_count: 1, dirty_closed: 0 });
    expect(await pool.close()).toMatchObject({ drained: true });
  }
});

test("a connection that comes back busy or inside a transaction is a warning", async () => {
  const { lines, logger } = recorder();
  const pool = postgres.pool({ maxOpenConns: 1, logger });
  const client = await pool.connect();
  await client.query("begin");
  const forgotten = client.query("select 1");
  client.release();
  await forgotten;
  await pool.query("select 1");
  expect(lines.filter(({ level }) => level === "warn").map(({ message }) => message)).toEqual([
    "a connection came back while a query ran on it",
    "a connection came back inside a transaction; it is rolled back",
  ]);
});

test("a connection that is lost while it is in use is one warning", async () => {
  const { lines, logger } = recorder();
  const pool = postgres.pool({ logger });
  const conn = await pool.acquire();
  const pid = await backendPid({ query: (text) => conn.query(text) });
  await postgres.watch("select pg_terminate_backend($1)", [pid]);
  await until("it is told of", () => lines.some(({ level }) => level === "warn"));
  await expect(conn.query("select 1")).rejects.toMatchObject({ code: "ERR_VG_DB_CONNECTION_LOST", sent: false });
  conn.release();
  expect(lines.filter(({ level }) => level === "warn")).toMatchObject([
    { message: "a connection was lost while it was in use", process_id: pid },
  ]);
});

test("acquires that time out or are refused are one warning a minute of each kind, with their number", async () => {
  const { lines, logger } = recorder();
  let offset = 0;
  const clock = { now: () => performance.now() + offset };
  const pool = postgres.pool({ logger, clock, maxOpenConns: 1, maxWaiting: 1 });
  const conn = await pool.acquire();
  const crowd = (): Promise<unknown> => Promise.allSettled([1, 2, 3].map(() => pool.acquire({ timeoutMs: 20 })));
  await crowd();
  await crowd();
  offset += 60_000;
  await crowd();
  const told = lines.filter(({ level }) => level === "warn");
  expect(told).toMatchObject([
    { message: "an acquire was refused", count: 1, error: expect.stringContaining("maxWaiting allows, 1") as string },
    { message: "an acquire timed out", count: 1, error: expect.stringContaining("(timeoutMs 20; ") as string },
    { message: "an acquire was refused", count: 4 },
    { message: "an acquire timed out", count: 2 },
  ]);
  conn.release();
});

test("a hook that fails is named where the failure is told of", async () => {
  const { lines, logger } = recorder();
  const refused = new Error("no such search_path");
  const pool = postgres.pool({ logger, name: "orders", onConnect: () => Promise.reject(refused) });
  const error = await pool.query("select 1").catch((caught: unknown) => caught as Error);
  expect(error).toMatchObject({ code: "ERR_VG_DB_CONNECT", cause: refused });
  expect((error as Error).message).toMatch(
    /^Pool orders: could not connect to \S+:\d+\/\S+: onConnect failed: no such search_path$/,
  );
  expect(lines).toContainEqual(
    expect.objectContaining({ level: "warn", error: "onConnect failed: no such search_path" }),
  );
});

test("an outage is a line for each reason, one a minute while it lasts, and one when it is over", async () => {
  const { lines, logger } = recorder();
  let offset = 0;
  const clock = { now: () => performance.now() + offset };
  // Without jitter there is no pause between the probes.
  const pool = postgres.pool({ logger, clock, random: () => 0 });
  const attempt = (): Promise<unknown> => pool.query("select 1").catch(() => undefined);
  const words = (): Line[] => lines.filter(({ level }) => level !== "debug");
  postgres.server.signal("SIGKILL");
  await postgres.server.exited();
  for (let i = 0; i < 20; i++) await attempt();
  expect(pool.getStats().create_error_count).toBe(20);
  const { port } = new URL(postgres.server.dsn);
  expect(words()).toMatchObject([
    {
      level: "warn",
      message: "could not connect",
      failures: 1,
      server: expect.stringContaining(`:${port}/`) as string,
    },
  ]);
  offset += 60_000;
  await attempt();
  expect(words()).toHaveLength(2);
  expect(words()[1]).toMatchObject({ level: "warn", failures: 20, error: words()[0]?.["error"] });
  await postgres.server.restart();
  await attempt();
  await attempt();
  expect(words().slice(2)).toMatchObject([
    { level: "info", message: "connected again", failures: 21, duration_ms: expect.any(Number) as number },
  ]);
});

test("an end of what nobody was told of is not told of either", async () => {
  const { lines, logger } = recorder();
  let dials = 0;
  const onConnect = (): void => {
    if (++dials % 2 === 1) throw new Error("not this time");
  };
  const pool = postgres.pool({ logger, onConnect, random: () => 0, maxIdleConns: 0, maxIdleTrimDelayMs: 0 });
  for (let n = 0; n < 8; n++) await pool.query("select 1").catch(() => undefined);
  expect(lines.filter(({ level }) => level !== "debug").map(({ message }) => message)).toEqual([
    "could not connect",
    "connected again",
  ]);
});
