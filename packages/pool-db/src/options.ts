import pg from "pg";
import { checkOptions, monotonicClock, readEnvironment } from "@vg/internal";
import { PoolConfigError } from "./errors.ts";
import type { Clock } from "./pool/alarm.ts";
import type { ClientConstructor } from "./protocol/dial.ts";
import { LIMIT_NAMES, MAX_CONNS, either, resolveLimits, type ResolvedLimits } from "./limit-options.ts";
import { readClientOptions } from "./client-options.ts";
import { addressText, checkDsn, describeServer, type ServerAddress } from "./dsn.ts";

/** Takes (fields, message), the order of pino, which `@vg/logging` also accepts. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

/**
 * All are optional. pg's own names (`connectionString`, `host`, `max`, `idleTimeoutMillis`, `ssl`, …) work as well; giving
 * an option under both of its names is refused. Durations are milliseconds; a duration that is a limit may be `Infinity`.
 */
export interface DbPoolOptions extends pg.PoolConfig {
  /** `postgres://user:password@host:port/database`. Default: pg's PG* environment variables. pg: `connectionString`. */
  dsn?: string | undefined;
  /** Stands in errors and log lines. Default: `host:port/database`. */
  name?: string | undefined;
  /** The most connections at a time, those being opened included; 1 to 100 000, default 25. pg: `max`. */
  maxOpenConns?: number | undefined;
  /** Free connections kept when there is no demand; 0 to `maxOpenConns`, default 5 (or `maxOpenConns`, if less). */
  maxIdleConns?: number | undefined;
  /** Free connections kept ready, from the first use on; 0 to `maxIdleConns`, default 0. pg: `min`. */
  minIdleConns?: number | undefined;
  /** A connection is closed when it is this old (and free), less up to 10 %; 0 is unlimited; default 30 min. pg: `maxLifetimeSeconds`. */
  connMaxLifetimeMs?: number | undefined;
  /** A free connection is closed after this time without use; 0 is unlimited; default 5 min. pg: `idleTimeoutMillis`. */
  connMaxIdleTimeMs?: number | undefined;
  /** The most that an acquire waits for queue, dial and check together; above 0, default 30 s. pg: `connectionTimeoutMillis`. */
  acquireTimeoutMs?: number | undefined;
  /** The most that one dial takes, login included; above 0, default 10 s. */
  connectTimeoutMs?: number | undefined;
  /** The most that a query takes, from having a connection, when its call names no `timeoutMs`; above 0, default `Infinity`. pg: `query_timeout`. */
  queryTimeoutMs?: number | undefined;
  /** Acquires that may wait beyond those that free capacity will serve; more are refused at once. Default `Infinity`. */
  maxWaiting?: number | undefined;
  /** Dials at a time; 1 or more, default 8. */
  maxConnecting?: number | undefined;
  /** How long connections must be surplus to `maxIdleConns` before they are closed; 0 closes at once; default 5 s. */
  maxIdleTrimDelayMs?: number | undefined;
  /** A connection that was free for longer is pinged before it is lent; 0 pings always, `Infinity` never; default 1 s. */
  validateAfterIdleMs?: number | undefined;
  /** The most that cleaning a connection (ROLLBACK) may take at its release; above 0, default 5 s. */
  resetTimeoutMs?: number | undefined;
  /**
   * What a connection gets to recover from a query that was given up (timeout, abort): until the server has cancelled it
   * and all is quiet. When it takes longer the connection is closed; 0 closes at once; default 1 s.
   */
  cancelTimeoutMs?: number | undefined;
  /** Statements that each connection keeps prepared by itself, the least recently used leave; 0 prepares none; default 100. */
  statementCacheSize?: number | undefined;
  /** A statement is prepared once it was run more often than this, by whatever connection; 0 or more, default 2. */
  prepareThreshold?: number | undefined;
  /**
   * Whether a pooler that gives each transaction another session (PgBouncer in transaction mode, Supavisor) stands before the
   * server: then nothing is prepared or pipelined by itself. Default: found out before the first statement is prepared.
   */
  transactionPooler?: boolean | undefined;
  /**
   * Whether plain statements of `query`, `queryRow` and `exec` may share a connection when none is free, each sent before the
   * one in front of it is answered. Not beside `queryTimeoutMs`: a
   * statement with a limit has a connection of its own. Default false.
   */
  pipeline?: boolean | undefined;
  /** With `pipeline`: how many statements share a connection at a time; 2 to 1000, default 32. */
  pipelineDepth?: number | undefined;
  /** With `pipeline`: no statement joins behind one that has run for longer; default 100 ms. */
  pipelineMaxAgeMs?: number | undefined;
  /**
   * A connection that is held for longer, for a slow query or a transaction too, is reported to the logger, once, with the
   * place of its acquire, and again when it is returned after all; it is not taken away. 0 is off, the default: knowing the place costs some
   * microseconds an acquire.
   */
  leakDetectionThresholdMs?: number | undefined;
  /** pg-pool's habit: `pool.query` destroys the connection on any error, a unique violation included. Default false. */
  discardOnQueryError?: boolean | undefined;
  /** pg.Pool's hook: runs on each new connection before anybody gets it; may be async; a failure closes the connection. */
  onConnect?: ((client: pg.ClientBase) => unknown) | undefined;
  /** Told of what a person on call would want to know. Default: nobody. */
  logger?: Logger | undefined;
  /** Default: the process's monotonic clock. */
  clock?: Clock | undefined;
  /** Numbers from 0 to below 1, for jitter. Default `Math.random`. */
  random?: (() => number) | undefined;
}

/** The guide's environment: POSTGRES_DSN, DB_MAX_OPEN_CONNS, DB_MAX_IDLE_CONNS. Absent ones are left out. */
export function dbPoolOptionsFromEnv(env: Record<string, string | undefined> = process.env): DbPoolOptions {
  const read = readEnvironment(env, (message: string) => new PoolConfigError("DbPool", message));
  const dsn = read.text("POSTGRES_DSN");
  const maxOpenConns = read.integer("DB_MAX_OPEN_CONNS", { min: 1, max: MAX_CONNS });
  const maxIdleConns = read.integer("DB_MAX_IDLE_CONNS", { max: MAX_CONNS });
  return {
    ...(dsn === undefined ? {} : { dsn }),
    ...(maxOpenConns === undefined ? {} : { maxOpenConns }),
    ...(maxIdleConns === undefined ? {} : { maxIdleConns }),
  };
}

export interface ResolvedOptions extends ResolvedLimits {
  name: string;
  server: ServerAddress;
  cancelTimeoutMs: number;
  /** 1 where pipelining is off. */
  maxShares: number;
  maxShareAgeMs: number;
  statementCacheSize: number;
  prepareThreshold: number;
  transactionPooler: boolean | undefined;
  discardOnQueryError: boolean;
  allowExitOnIdle: boolean;
  logger: Logger | undefined;
  log: ((...messages: unknown[]) => void) | undefined;
  clock: Clock;
  random: () => number;
  Client: ClientConstructor;
  /** What `query()`, `connect()` and `end()` give, as with pg.Pool; the other methods give the built-in one. */
  Promise: PromiseConstructorLike;
  /** What each new client gets. */
  clientConfig: pg.ClientConfig;
  onConnect: ((client: pg.Client) => unknown) | undefined;
  verify: ((client: pg.Client, done: (error?: Error) => void) => void) | undefined;
}

/**
 * Checks everything and fills in the defaults.
 * @throws {PoolConfigError} at the first option that cannot be right
 */
export function resolveOptions(options: DbPoolOptions): ResolvedOptions {
  const fail = (message: string): PoolConfigError => new PoolConfigError(nameForErrors(options), message);
  const check = checkOptions("options", options, fail);
  const dsn = checkDsn(check.raw(either(options, "dsn", "connectionString", fail)), fail);
  const limits = resolveLimits("options", options, fail);
  for (const name of LIMIT_NAMES) check.raw(name);
  const Client = check.function<never>("Client") as ClientConstructor | undefined;
  const pipelineDepth = check.integer("pipelineDepth", {
    fallback: 32,
    min: 2,
    max: 1_000,
    hint: "To turn it off, leave pipeline out.",
  });

  const lone = (["pipelineDepth", "pipelineMaxAgeMs"] as const).find((name) => options[name] !== undefined);
  if (lone !== undefined && options.pipeline === undefined) {
    throw fail(`options: ${lone} has no effect without pipeline. Give pipeline: true as well, or leave it out.`);
  }

  const clientOptions = readClientOptions(check, fail);
  const clientConfig: Record<string, unknown> = { ...clientOptions, keepAlive: clientOptions["keepAlive"] ?? true };
  if (dsn !== undefined) clientConfig["connectionString"] = dsn;

  const resolved = {
    ...limits,
    cancelTimeoutMs: check.durationMs("cancelTimeoutMs", { fallback: 1_000 }),
    maxShares: check.boolean("pipeline", { fallback: false }) ? pipelineDepth : 1,
    maxShareAgeMs: check.number("pipelineMaxAgeMs", { fallback: 100, max: Infinity }),
    statementCacheSize: check.integer("statementCacheSize", { fallback: 100, max: 10_000 }),
    prepareThreshold: check.integer("prepareThreshold", { fallback: 2 }),
    transactionPooler:
      check.raw("transactionPooler") === undefined
        ? undefined
        : check.boolean("transactionPooler", { fallback: false }),
    discardOnQueryError: check.boolean("discardOnQueryError", { fallback: false }),
    allowExitOnIdle: check.boolean("allowExitOnIdle", { fallback: false }),
    logger: check.objectWith<Logger>("logger", ["debug", "info", "warn", "error"], {
      hint: "A pino or @vg/logging logger fits.",
    }),
    log: check.function<(...messages: unknown[]) => void>("log"),
    clock: check.objectWith<Clock>("clock", ["now"]) ?? monotonicClock,
    random: check.function<() => number>("random") ?? Math.random,
    onConnect: check.function<(client: pg.Client) => unknown>("onConnect"),
    verify: check.function<(client: pg.Client, done: (error?: Error) => void) => void>("verify"),
    Client: Client ?? pg.Client,
    Promise: (check.function<never>("Promise") as PromiseConstructorLike | undefined) ?? Promise,
    clientConfig: clientConfig as pg.ClientConfig,
  };
  const name = check.string("name", { fallback: undefined });
  check.noOthers();
  const server = describeServer(resolved.clientConfig, fail);
  return { ...resolved, server, name: name ?? addressText(server) };
}

/** Before the options are checked, the pool may not have a name yet. */
function nameForErrors(options: unknown): string {
  const name = (options as { name?: unknown } | null)?.name;
  return typeof name === "string" && name !== "" ? name : "DbPool";
}
