/** What pg-boss (12 and later) takes as its `db` option, made of a pool. Its types are written out here: no dependency. */
import { describeValue } from "@vg/internal";
import type pg from "pg";
import type { DbPool } from "../db-pool.ts";
import { PoolConfigError } from "../errors.ts";
import type { QueryInput } from "../query/query-call.ts";
import { PgBossListener } from "./pg-boss-listener.ts";

/** Where pg-boss runs statements: `db` of its constructor, and the `db` option of `send()`, `complete()` and the others. */
export interface PgBossSession {
  executeSql(text: string, values?: readonly unknown[]): Promise<{ rows: unknown[] }>;
}

/** A transaction that pg-boss begins and ends: its `work(name, { transactional: true }, …)`. */
export interface PgBossTransaction {
  readonly db: PgBossSession;
  commit(): Promise<void>;
  /** Never rejects; may be called again. */
  rollback(): Promise<void>;
}

/** All that pg-boss knows to ask of a pool. */
export interface PgBossDb extends PgBossSession {
  beginTransaction(): Promise<PgBossTransaction>;
  listen(
    channel: string,
    onNotification: (payload: string) => void,
    onReconnect: () => void,
  ): Promise<{ close(): Promise<void> }>;
  setSessionStatements(statements: readonly string[]): Promise<void>;
  poolCounts(): { max: number; total: number; idle: number; waiting: number };
}

/** A `Tx` or a `DbConnection`. */
interface Queryable {
  query(input: QueryInput, values?: readonly unknown[]): Promise<pg.QueryResult>;
}

/**
 * A pool as pg-boss's database: `new PgBoss({ db: toPgBoss(pool) })`. Everything that pg-boss does with a pool of its own
 * works: migrations, transactional workers, `useListenNotify` (which holds one connection of the pool while it listens),
 * session statements, pool counts. pg-boss does not close the pool: `await boss.stop()`, then `await pool.close()`.
 *
 * Of a transaction (or a connection) it makes the `db` option of a single call, which then is part of that transaction:
 * `await boss.send("mail", data, { db: toPgBoss(tx) })`.
 */
export function toPgBoss(pool: DbPool): PgBossDb;
export function toPgBoss(transaction: Queryable): PgBossSession;
export function toPgBoss(from: DbPool | Queryable): PgBossDb | PgBossSession {
  if (typeof (from as { query?: unknown } | null | undefined)?.query !== "function") {
    throw new PoolConfigError(
      "DbPool",
      `toPgBoss() takes a DbPool, a transaction or a connection, got ${describeValue(from)}.`,
    );
  }
  return isPool(from) ? overPool(from) : over(from);
}

function isPool(from: DbPool | Queryable): from is DbPool {
  return "begin" in from;
}

function over(queryable: Queryable): PgBossSession {
  return {
    executeSql: async (text, values) => ({ rows: rowsOf(await queryable.query(text, values)) }),
  };
}

function overPool(pool: DbPool): PgBossDb {
  let sessionStatements: readonly string[] = [];
  const runAll = async (client: pg.ClientBase): Promise<void> => {
    for (const statement of sessionStatements) await client.query(statement);
  };
  const prepare = (client: pg.ClientBase): void => {
    // A connection without them must not serve: pg-boss would read two clocks.
    runAll(client).catch(() => (client as pg.Client).end());
  };
  return {
    ...over(pool),
    beginTransaction: async () => {
      const tx = await pool.begin();
      return {
        db: over(tx),
        commit: () => tx.commit(),
        rollback: () => tx[Symbol.asyncDispose](),
      };
    },
    listen: async (channel, onNotification, onReconnect) => {
      const listener = new PgBossListener(pool, { channel, onNotification, onSubscribed: onReconnect });
      await listener.open();
      return listener;
    },
    setSessionStatements: async (statements) => {
      sessionStatements = statements;
      pool.off("connect", prepare);
      if (statements.length === 0) return;
      pool.on("connect", prepare);
      // What is open has not run them, and would serve on.
      pool.reset();
    },
    poolCounts: () => ({
      max: pool.options.max,
      total: pool.totalCount,
      idle: pool.idleCount,
      waiting: pool.waitingCount,
    }),
  };
}

/** Those of all results, where the text held several statements. */
function rowsOf(result: pg.QueryResult | readonly pg.QueryResult[]): unknown[] {
  if (!Array.isArray(result)) return (result as pg.QueryResult<object>).rows;
  return (result as readonly pg.QueryResult<object>[]).flatMap(({ rows }) => rows);
}
