import pg from "pg";

/** Where a pool connects to. */
export interface ServerAddress {
  host: string;
  port: number;
  user: string | undefined;
  database: string | undefined;
  ssl: unknown;
  password: unknown;
}

const FORM = "postgres://user:password@host:port/database";

/**
 * Refuses what cannot be a DSN, without ever showing it: it holds the password.
 * A path (`/var/run/postgresql database`) and `socket:` are pg's forms for a Unix socket.
 */
export function checkDsn(dsn: unknown, fail: (message: string) => Error): string | undefined {
  if (dsn === undefined) return undefined;
  if (typeof dsn !== "string" || dsn === "") {
    throw fail(
      `options: dsn must be a string like ${FORM}, got ${dsn === "" ? "an empty string" : `a ${typeof dsn}`}.`,
    );
  }
  if (dsn.startsWith("/") || dsn.startsWith("socket:")) return dsn;
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(dsn)?.[1];
  if (scheme === undefined) throw fail(`options: dsn must begin with postgres:// or postgresql://, like ${FORM}.`);
  if (!/^postgres(ql)?$/i.test(scheme)) {
    throw fail(`options: dsn must begin with postgres:// or postgresql://, got ${JSON.stringify(`${scheme}://`)}.`);
  }
  return dsn;
}

/**
 * The address as pg understands the configuration (DSN, options, PG* variables, defaults), by letting it read it.
 * Nothing is connected.
 */
export function describeServer(config: pg.ClientConfig, fail: (message: string) => Error): ServerAddress {
  // A factory of streams would open one.
  const { stream: _, ...rest } = config;
  let client: pg.Client;
  try {
    client = new pg.Client(rest);
  } catch (error) {
    // Not passed on as the cause: a URL error holds its input, and with it the password.
    const { code } = error as { code?: unknown };
    if (code === "ENOENT" || code === "EACCES") {
      throw fail(`options: a certificate file of the dsn cannot be read: ${(error as Error).message}.`);
    }
    if (config.connectionString === undefined) throw fail(`options: ${(error as Error).message}.`);
    throw fail(
      `options: dsn cannot be parsed. It must look like ${FORM}, with a port from 1 to 65535, one host, and the special characters of user and password percent-encoded ("#" as %23, "/" as %2F, "@" as %40).`,
    );
  }
  const { host, port, user, database, ssl, password } = client;
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    throw fail(`options: port must be a whole number from 1 to 65535, got ${port}. Correct the dsn, port or PGPORT.`);
  }
  if (host.includes(",")) throw fail("options: several hosts are not supported. Give one host.");
  return { host, port, user, database, ssl, password };
}
