/** The pools that are compared, made equal; each library is loaded only where it is asked for. */
import type { Statement, Value } from "./pool-db-workload.ts";

export interface DatabaseClient {
  /** Resolves with what the library calls a result; nothing of it is looked at here, so that no layer is measured. */
  query(statement: Statement, values: Value[]): PromiseLike<unknown>;
  /** The rows of a result. */
  rows<T>(result: unknown): readonly T[];
  /** How many rows a result says that it has read or written. */
  count(result: unknown): number | null;
  close(): Promise<unknown>;
}

interface PgResult {
  readonly rows: readonly unknown[];
  readonly rowCount: number | null;
}

const PG_RESULTS: Pick<DatabaseClient, "rows" | "count"> = {
  rows: <T>(result: unknown) => (result as PgResult).rows as readonly T[],
  count: (result) => (result as PgResult).rowCount,
};

/**
 * Pools of at most so many connections, which keep all that they have opened; all else is as it comes. A named statement
 * is parsed once a connection.
 */
export async function openDatabaseClient(name: string, dsn: string, connections: number): Promise<DatabaseClient> {
  switch (name) {
    case "@vg/pool-db":
    case "@vg/pool-db pipelined": {
      const { openDbPool } = await import("@vg/pool-db");
      const pool = await openDbPool({
        dsn,
        maxOpenConns: connections,
        maxIdleConns: connections,
        ...(name.endsWith("pipelined") && { pipeline: true }),
      });
      return { ...PG_RESULTS, query: ({ text }, values) => pool.query(text, values), close: () => pool.close() };
    }
    case "pg.Pool":
    case "pg.Pool (named)": {
      const { Pool } = await import("pg");
      const pool = new Pool({ connectionString: dsn, max: connections, idleTimeoutMillis: 0 });
      return {
        ...PG_RESULTS,
        query:
          name === "pg.Pool"
            ? ({ text }, values) => pool.query(text, values)
            : (statement, values) => pool.query({ name: statement.name, text: statement.text, values }),
        close: () => pool.end(),
      };
    }
    case "postgres.js": {
      const { default: postgres } = await import("postgres");
      const sql = postgres(dsn, { max: connections });
      // As its tagged templates do, which prepare; they would put the text together for each query.
      const options = { prepare: true };
      return {
        query: ({ text }, values) => sql.unsafe(text, values, options),
        rows: <T>(result: unknown) => result as readonly T[],
        count: (result) => (result as { count: number }).count,
        close: () => sql.end(),
      };
    }
    default:
      throw new Error(`no client ${name}`);
  }
}
