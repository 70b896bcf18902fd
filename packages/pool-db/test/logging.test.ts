import { expect, test } from "vitest";
import { usePostgres } from "./support.ts";
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
  expect(words()).toMatchObject([{ level: "warn", message: "could not connect", failures: 1 }]);
  offset += 60_000;
  await attempt();
  expect(words()).toHaveLength(2);
  expect(words()[1]).toMatchObject({ level: "warn", failures: 20, error: words()[0]?.["error"] });
  await postgres.server.restart();
  await attempt();
  await attempt();
  expect(words().slice(2)).toMatchObject([{ level: "info", message: "connected again" }]);
});
