import { afterEach, expect } from "vitest";
import type { DbConnection, DbPool, DbPoolOptions } from "../src/index.ts";
import { FaultProxy } from "./fault-proxy.ts";
import { until, usePostgres } from "./support.ts";

/** For `describe.each`: the two ways in which a pool uses its connections, each as options of it. */
export const PIPELINING: readonly (readonly [string, DbPoolOptions])[] = [
  ["pipelining off", {}],
  ["pipelining on", { pipeline: true, pipelineDepth: 4 }],
];

export interface FaultPoolOptions extends DbPoolOptions {
  /** Connects through this proxy instead of directly. */
  through?: FaultProxy;
  /** Whether the pool can serve queries again when the test is over; default true. */
  recovers?: boolean;
}

/**
 * A server (with `settings`), proxies before it, and pools (with the `common` options) that are checked after each test, whatever the test did to them: nothing is
 * lost, every place can be filled again, nothing is thrown that nobody can catch, and the server and the proxies, which
 * work again by then, see no connection that the pool has forgotten.
 */
export function useFaults(
  common: DbPoolOptions = {},
  settings: Record<string, string> = {},
): {
  readonly postgres: ReturnType<typeof usePostgres>;
  pool(options?: FaultPoolOptions): DbPool;
  /** Resolves when the server runs so many of the pool's queries. */
  running(pool: DbPool, count: number): Promise<void>;
  /** Ends the pool's sessions, as an administrator would; returns how many there were. */
  terminate(pool: DbPool): Promise<number>;
  /** What is done after each test, for a test that makes several pools one after another. */
  check(): Promise<void>;
  /** A fault proxy before the server, or before `upstream`. */
  proxy(upstream?: { host: string; port: number }): Promise<FaultProxy>;
} {
  // So that the server notices soon that a client has left in the middle of a query.
  const postgres = usePostgres({ settings: { client_connection_check_interval: "50ms", ...settings } });
  const watched: Watched[] = [];
  const proxies: FaultProxy[] = [];
  const uncaught: unknown[] = [];
  const collect = (error: unknown): void => void uncaught.push(error);
  let count = 0;
  process.on("uncaughtException", collect);

  const check = async (): Promise<void> => {
    try {
      // A network that swallows everything keeps sessions alive on the server that the pool has long given up.
      for (const proxy of proxies) proxy.heal();
      for (const each of watched) await expectWhole(each);
      for (const proxy of proxies) await until("the pool's sockets are closed", () => proxy.links.size === 0);
      expect(uncaught).toEqual([]);
    } finally {
      for (const proxy of proxies.splice(0)) proxy.close();
      await Promise.all(watched.splice(0).map(({ pool }) => pool.destroy()));
      uncaught.length = 0;
    }
  };
  afterEach(check);

  const sessions = async (pool: DbPool, which = "true"): Promise<number> => {
    const { application_name } = pool.options as { application_name?: string };
    const text = `select 1 from pg_stat_activity where application_name = $1 and ${which}`;
    return (await postgres.watch(text, [application_name])).rows.length;
  };
  return {
    postgres,
    check,
    pool({ through, recovers = true, ...options } = {}) {
      const { host, user, password, port } = postgres.server;
      const address = { dsn: undefined, host, user, password, port: through?.port ?? port, database: "postgres" };
      const name = `faults-${++count}`;
      // Where the network is silent, every recovery of a cancelled query takes all the time that it gets.
      const defaults = { application_name: name, cancelTimeoutMs: 200 };
      const pool = postgres.pool({ ...address, ...defaults, ...common, ...options });
      const broken: string[] = [];
      for (const event of ["connect", "acquire", "release", "remove"] as const) {
        pool.on(event, () => {
          const { open_connections: open, in_use, idle, connecting, max_open_connections: max } = pool.getStats();
          if (open !== in_use + idle || open + connecting > max) {
            broken.push(`at ${event}: open ${open}, in_use ${in_use}, idle ${idle}, connecting ${connecting}`);
          }
        });
      }
      watched.push({ pool, recovers, broken, sessions: () => sessions(pool) });
      return pool;
    },
    running: (pool, expected) =>
      until(`${expected} queries run`, async () => (await sessions(pool, "state = 'active'")) === expected),
    async terminate(pool) {
      const { application_name } = pool.options as { application_name?: string };
      // With a time limit the function waits for the session's end.
      const text = "select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = $1";
      return (await postgres.watch(text, [application_name])).rows.length;
    },
    async proxy(upstream = postgres.server) {
      const proxy = new FaultProxy(upstream);
      proxies.push(proxy);
      await proxy.listen();
      return proxy;
    },
  };
}

interface Watched {
  readonly pool: DbPool;
  readonly recovers: boolean;
  /** Events at which the figures did not add up. */
  readonly broken: readonly string[];
  /** How many connections of the pool the server knows. */
  readonly sessions: () => Promise<number>;
}

async function expectWhole({ pool, recovers, broken, sessions }: Watched): Promise<void> {
  const closedByTest = pool.ending;
  if (closedByTest) await pool.close();
  await until("everything has come back", () => {
    const { in_use, pending, connecting } = pool.getStats();
    return in_use === 0 && pending === 0 && connecting === 0;
  });
  // Ends that the network had kept back may arrive just now.
  if (!closedByTest && recovers) await until("the pool serves as many as ever", () => servesAll(pool));
  const { open_connections: open, in_use, idle, acquire_count, release_count } = pool.getStats();
  expect({ open, in_use, acquire_count }).toEqual({ open: idle, in_use: 0, acquire_count: release_count });
  if (recovers)
    await until("the server knows the pool's connections and no others", async () => (await sessions()) === open);
  const { drained } = await pool.close();
  expect(drained || closedByTest).toBe(true);
  expect(pool.getStats()).toMatchObject({ open_connections: 0, in_use: 0, idle: 0, connecting: 0, pending: 0 });
  if (recovers) await until("the server has forgotten the pool", async () => (await sessions()) === 0);
  expect(broken).toEqual([]);
}

/** Whether every place of the pool can be taken by a connection that works. */
async function servesAll(pool: DbPool): Promise<boolean> {
  const { max_open_connections: max } = pool.getStats();
  const connections = await Promise.all(Array.from({ length: max }, () => pool.acquire()));
  const ask = (one: DbConnection, n: number) => one.queryRow("select $1::int as n", [n], { timeoutMs: 5_000 });
  const answers = await Promise.all(connections.map((one, n) => outcome(ask(one, n))));
  const { open_connections, in_use, idle, connecting } = pool.getStats();
  for (const connection of connections) connection.release();
  const all = open_connections === max && in_use === max && idle === 0 && connecting === 0;
  return all && answers.every((row, n) => (row as { n?: number }).n === n);
}

/** What became of a call: its value, or the error. */
export function outcome<T>(call: Promise<T>): Promise<unknown> {
  return call.catch((error: unknown) => error);
}
