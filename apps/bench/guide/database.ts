import { openDbPool } from "@vg/pool-db";
import { Client } from "pg";
import { field, textField } from "../harness/values.ts";
import type { Progress } from "../harness/progress.ts";
import { measurePairs, timed, type LatencyPair, type Limits } from "./latency.ts";

const SQL = "SELECT i AS id, 'user ' || i AS name FROM generate_series(1, 100) AS i WHERE i = $1";

export interface DatabaseResult extends LatencyPair {
  server: string;
  /** Connections that the pool opened for all of its queries. */
  poolConnections: number;
}

/**
 * A query on a connection of its own (connect, authenticate, query) beside the same query through the pool. The time that
 * closing the connection takes is not counted.
 */
export async function measureDatabase(dsn: string, limits: Limits, progress: Progress): Promise<DatabaseResult> {
  const pool = await openDbPool({ dsn });
  try {
    const pair = await measurePairs(
      "Database query",
      {
        async before(index) {
          const client = new Client(dsn);
          try {
            return await timed(async () => {
              await client.connect();
              checkRow((await client.query(SQL, [1 + (index % 100)])).rows, index);
            });
          } finally {
            await client.end();
          }
        },
        after: (index) => timed(async () => checkRow((await pool.query(SQL, [1 + (index % 100)])).rows, index)),
      },
      limits,
      progress,
    );
    const { rows } = await pool.query("SELECT current_setting('server_version') AS version");
    const server = `PostgreSQL ${textField(rows[0], "version")}`;
    return { ...pair, server, poolConnections: pool.getStats().open_connections };
  } finally {
    await pool.close();
  }
}

function checkRow(rows: readonly unknown[], index: number): void {
  const id = 1 + (index % 100);
  if (rows.length !== 1 || field(rows[0], "id") !== id || field(rows[0], "name") !== `user ${id}`) {
    throw new Error(`The database answered ${JSON.stringify(rows)} to a query for user ${id}`);
  }
}
