import assert from "node:assert/strict";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import type { DbPool } from "../../src/index.ts";
import { Rollback, type Ledger } from "./ledger.ts";

export interface Shop {
  readonly pool: DbPool;
  readonly ledger: Ledger;
  readonly random: () => number;
  /** Lives as long as the soak, and is aborted never or at its end: every listener on it has to go. */
  readonly signal: AbortSignal;
}

const INSERT = "insert into soak (id, pair) values ($1, $2)";

/** Errors that a caller may get while connections are cut, servers restarted and limits hit. */
const EXPECTED =
  /^(57P0[123]|57014|25P02|53300|ERR_VG_DB_(CONNECTION_LOST|CONNECT|ACQUIRE_TIMEOUT|QUERY_TIMEOUT|COMMIT_UNKNOWN))$/;

/** The code of an expected error; throws any other. */
export function expected(error: unknown): string {
  if (error instanceof Rollback) return "rolled back";
  if (error instanceof Hangup) return "aborted";
  const { code, message } = error as { code?: unknown; message?: string };
  if (typeof code === "string" && EXPECTED.test(code)) return code;
  // pg's own errors, for a client of connect() whose connection is gone.
  if (code === "ECONNRESET" || code === "EPIPE") return `pg: ${code}`;
  if (/^(Connection terminated|Client has encountered a connection error|Client was closed)/.test(message ?? "")) {
    return "pg: connection lost";
  }
  throw error;
}

class Hangup extends Error {}

/** What the callers do, and how often one does it beside the others. */
export const WORK: Readonly<Record<string, { weight: number; run(shop: Shop): Promise<void> }>> = {
  "point select": { weight: 20, run: ({ pool, random }) => select(pool, random) },
  "point select, named": { weight: 10, run: ({ pool, random }) => select(pool, random, "soak-by-id") },
  "point select, the shop's signal": {
    weight: 5,
    run: ({ pool, random, signal }) => select(pool, random, undefined, { signal }),
  },
  "many rows": {
    weight: 3,
    run: async ({ pool }) => {
      const { rows } = await pool.query("select n from generate_series(1, 500) as n");
      assert.deepEqual([rows.length, (rows[499] as { n: number }).n], [500, 500]);
    },
  },
  insert: {
    weight: 10,
    run: ({ pool, ledger }) => ledger.enter(1, false, ([id]) => pool.exec(INSERT, [id, 0])),
  },
  "insert with a limit": {
    weight: 3,
    run: ({ pool, ledger, random }) =>
      ledger.enter(1, false, ([id]) => pool.exec(INSERT, [id, 0], { timeoutMs: 1 + random() * 20 })),
  },
  "unique violation": {
    weight: 3,
    run: async ({ pool }) => {
      const error = await pool.exec("insert into soak_items values (1, 1)").catch((caught: unknown) => caught);
      if ((error as { code?: string }).code !== "23505") throw error;
    },
  },
  batch: {
    weight: 3,
    run: ({ pool, ledger }) =>
      ledger.enter(2, false, ([a, b]) =>
        pool.batch([
          { text: INSERT, values: [a, a] },
          { text: INSERT, values: [b, a] },
        ]),
      ),
  },
  transaction: {
    weight: 6,
    run: ({ pool, ledger, signal }) =>
      ledger.enter(2, true, ([a, b]) =>
        pool.transaction(
          async (tx) => {
            await tx.exec(INSERT, [a, a]);
            await tx.exec(INSERT, [b, a]);
          },
          { signal },
        ),
      ),
  },
  "transaction with a limit": {
    weight: 3,
    run: ({ pool, ledger, random }) =>
      ledger.enter(2, true, ([a, b]) =>
        pool.transaction(
          async (tx) => {
            await tx.exec(INSERT, [a, a]);
            await delay(random() * 10);
            await tx.exec(INSERT, [b, a]);
          },
          { timeoutMs: 1 + random() * 40 },
        ),
      ),
  },
  "transaction, rolled back": {
    weight: 4,
    run: ({ pool, ledger }) =>
      ledger.enter(1, true, ([id]) =>
        pool.transaction(async (tx) => {
          await tx.exec(INSERT, [id, 0]);
          throw new Rollback();
        }),
      ),
  },
  "transaction with a savepoint": {
    weight: 2,
    run: ({ pool, ledger }) =>
      ledger.enter(1, true, async ([id]) => {
        await using tx = await pool.begin();
        const savepoint = await tx.savepoint();
        const error = await tx.exec("insert into soak_items values (1, 1)").catch((caught: unknown) => caught);
        if ((error as { code?: string }).code !== "23505") throw error;
        await savepoint.rollback();
        await tx.exec(INSERT, [id, 0]);
        await tx.commit();
      }),
  },
  "abort while it waits or runs": {
    weight: 5,
    run: async ({ pool, random }) => {
      const controller = new AbortController();
      const calling = pool.query("select pg_sleep(0.02)", [], { signal: controller.signal });
      const timer = setTimeout(() => controller.abort(new Hangup()), random() * 30);
      await calling.finally(() => clearTimeout(timer));
    },
  },
  timeout: {
    weight: 4,
    run: async ({ pool, random }) =>
      void (await pool.query("select pg_sleep(0.05)", [], { timeoutMs: 1 + random() * 30 })),
  },
  "a lease that is held": {
    weight: 4,
    run: async ({ pool, random }) => {
      await using connection = await pool.acquire();
      await connection.query("select 1");
      await delay(random() * 10);
      assert.deepEqual(await connection.queryRow("select 2 as n"), { n: 2 });
      if (random() < 0.05) connection.discard();
    },
  },
  "a lease left in a transaction": {
    weight: 2,
    run: async ({ pool, ledger }) =>
      ledger.enter(1, true, async ([id]) => {
        await using connection = await pool.acquire();
        await connection.query("begin");
        await connection.exec(INSERT, [id, 0]);
        throw new Rollback();
      }),
  },
  "rows in portions, by pg's client": {
    weight: 2,
    run: async ({ pool }) => {
      const client = await pool.connect();
      try {
        const portions = new pg.Query({ text: "select generate_series(1, 50) as n", rows: 7 } as pg.QueryConfig);
        let rows = 0;
        portions.on("row", () => rows++);
        await once(client.query(portions), "end");
        assert.equal(rows, 50);
      } finally {
        client.release();
      }
    },
  },
  "a client that is released in the middle of its query": {
    weight: 1,
    run: async ({ pool }) => {
      const client = await pool.connect();
      const forgotten = client.query("select pg_sleep(0.01)");
      client.release();
      await forgotten;
    },
  },
  "health and statistics": {
    weight: 1,
    run: async ({ pool }) => {
      await pool.health({ timeoutMs: 200 });
      const stats = pool.getStats();
      assert.equal(stats.open_connections, stats.in_use + stats.idle);
      // When a pool is made smaller, what is lent stays until it returns, and nothing else.
      const most = Math.max(stats.max_open_connections, stats.in_use);
      assert.ok(stats.open_connections + stats.connecting <= most, JSON.stringify(stats));
    },
  },
};

async function select(
  pool: DbPool,
  random: () => number,
  name?: string,
  limits?: { signal: AbortSignal },
): Promise<void> {
  const id = 1 + Math.floor(random() * 1_000);
  const config = { ...(name === undefined ? {} : { name }), text: "select id, value from soak_items where id = $1" };
  assert.deepEqual(await pool.queryRow(config, [id], limits), { id, value: id * 7 });
}
