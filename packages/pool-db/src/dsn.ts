import { describeKind, describeValue } from "@vg/internal";
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

const ENCODING = `the special characters of user and password percent-encoded ("#" as %23, "/" as %2F, "?" as %3F, "@" as %40)`;

/** `host:port/database`, as far as known. */
export function addressText({ host, port, database }: ServerAddress): string {
  return `${host}:${port}${database === undefined ? "" : `/${database}`}`;
}

/**
 * What pg reads in a DSN's query, and what libpq would: the latter is left alone, since a DSN is often made for several
 * programs, unless it would lead elsewhere.
 */
const PARAMETERS: ReadonlySet<string> = new Set(
  `host port user password passfile database db options application_name fallback_application_name
  client_encoding encoding connect_timeout statement_timeout lock_timeout idle_in_transaction_session_timeout
  keepalives keepalives_idle keepalives_interval keepalives_count tcp_user_timeout replication binary
  target_session_attrs load_balance_hosts requirepeer channel_binding
  ssl sslmode sslcert sslkey sslkeylogfile sslpassword sslcertmode sslrootcert sslcrl sslcrldir sslsni sslcompression
  sslnegotiation requiressl ssl_min_protocol_version ssl_max_protocol_version min_protocol_version max_protocol_version
  uselibpqcompat gssencmode gsslib gssdelegation krbsrvname scram_client_key scram_server_key
  oauth_issuer oauth_client_id oauth_client_secret oauth_scope`.split(/\s+/),
);

/** What others write into a DSN, and where it belongs here. */
const REMEDIES: Record<string, string> = {
  query_timeout: "Give the option queryTimeoutMs instead.",
  max: "Give the option maxOpenConns instead.",
  pool_max_conns: "Give the option maxOpenConns instead.",
  connection_limit: "Give the option maxOpenConns instead.",
  pool_timeout: "Give the option acquireTimeoutMs instead.",
  pgbouncer: "Give the option transactionPooler instead.",
  schema: "Give options=-c%20search_path%3D<schema> instead.",
  dbname: "Put the database behind the host, as /database.",
  hostaddr: "Put the address in the place of the host.",
  service: "Services are libpq's; give the server's address.",
  servicefile: "Services are libpq's; give the server's address.",
  require_auth: "pg does not look at it; require it in the server's pg_hba.conf.",
};

/**
 * Refuses what cannot be a DSN, without ever showing it: it holds the password.
 * A path (`/var/run/postgresql database`) and `socket:` are pg's forms for a Unix socket.
 */
export function checkDsn(dsn: unknown, fail: (message: string) => Error): string | undefined {
  if (dsn === undefined) return undefined;
  if (typeof dsn !== "string" || dsn === "") {
    throw fail(
      `options: dsn must be a string like ${FORM}, got ${dsn === "" ? "an empty string" : describeKind(dsn)}.`,
    );
  }
  if (dsn.startsWith("/")) return dsn;
  if (dsn.startsWith("socket:")) return checkParts(dsn, fail);
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(dsn)?.[1];
  if (scheme === undefined) throw fail(`options: dsn must begin with postgres:// or postgresql://, like ${FORM}.`);
  if (!/^postgres(ql)?$/i.test(scheme)) {
    throw fail(`options: dsn must begin with postgres:// or postgresql://, got ${JSON.stringify(`${scheme}://`)}.`);
  }
  return checkParts(dsn, fail);
}

/**
 * A "/", "?" or "#" in a password ends what is read as the address: the rest of the password would be taken for a name of
 * a database, and shown. The "@" that follows it then gives it away.
 */
function checkParts(dsn: string, fail: (message: string) => Error): string {
  const [, behind = ""] = /^[^:]*:(?:\/\/)?[^/?#]*(.*)$/s.exec(dsn) ?? [];
  const [, path = "", query = "", fragment = ""] = /^([^?#]*)\??([^#]*)(.*)$/s.exec(behind) ?? [];
  const names = [...new URLSearchParams(query).keys()];
  // In a parameter that PostgreSQL has it is a part of a value; otherwise nobody knows what was meant.
  const readsOn = query.includes("@") && !names.every((name) => PARAMETERS.has(name));
  if (path.includes("@") || fragment.includes("@") || readsOn) {
    throw fail(`options: dsn holds an "@" behind the host. It must look like ${FORM}, with ${ENCODING}.`);
  }
  for (const name of names) {
    if (PARAMETERS.has(name)) continue;
    // Without a value it may be anything, the end of a password included.
    const shown = query.includes(`${name}=`) ? describeValue(name) : "without a value";
    const remedy = Object.hasOwn(REMEDIES, name)
      ? REMEDIES[name]
      : "What is meant for the pool are options, given beside the dsn; remove it otherwise.";
    throw fail(`options: dsn has a parameter ${shown}, which pg does not read. ${remedy}`);
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
      `options: dsn cannot be parsed. It must look like ${FORM}, with a port from 1 to 65535, one host, and ${ENCODING}.`,
    );
  }
  const { host, port, user, database, ssl, password } = client;
  if (!Number.isInteger(port) || port < 1 || port > 65_535) {
    const given = config.port ?? process.env["PGPORT"];
    // A port of the DSN comes first, and is not shown: whatever stands there may have been meant for something else.
    const shown = config.connectionString === undefined && given !== undefined ? describeValue(given) : "another";
    throw fail(`options: port must be a whole number from 1 to 65535, got ${shown}. Correct the dsn, port or PGPORT.`);
  }
  if (host.includes(",")) throw fail("options: several hosts are not supported. Give one host.");
  return { host, port, user, database, ssl, password };
}
