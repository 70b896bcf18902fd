/** A PostgreSQL server of its own, with the tables of the workloads. */
import { SCHEMA } from "./pool-db-workload.ts";

export interface DatabaseServer {
  readonly dsn: string;
  readonly versions: Record<string, string>;
  stop(): Promise<void>;
}

export async function startDatabase(): Promise<DatabaseServer> {
  const [{ startEmbeddedPostgres }, { default: pg }] = await Promise.all([
    import("@vg/internal/embedded-postgres"),
    import("pg"),
  ]);
  console.error("Starting PostgreSQL …");
  const server = await startEmbeddedPostgres({
    // All contenders of a case keep their connections, and nothing is to start in the middle of a round.
    settings: { max_connections: "250", autovacuum: "off", checkpoint_timeout: "1h", max_wal_size: "8GB" },
  });
  const client = new pg.Client(server.dsn);
  try {
    await client.connect();
    // One by one: several in one text are one transaction, in which VACUUM may not run.
    for (const statement of SCHEMA.split(";")) await client.query(statement);
    const { rows } = await client.query<{ version: string }>("SELECT current_setting('server_version') AS version");
    return {
      dsn: server.dsn,
      versions: { PostgreSQL: rows[0]?.version ?? "unknown" },
      stop: () => server.stop(),
    };
  } catch (error) {
    await server.stop();
    throw error;
  } finally {
    await client.end();
  }
}
