/** What code that was written for pg.Pool expects of its options. */
import type pg from "pg";
import { markHook } from "./errors.ts";
import type { ResolvedLimits } from "./limit-options.ts";
import type { DbPoolOptions, ResolvedOptions } from "./options.ts";

/** Those that `pool.options` has under pg's name, or hides. */
const RENAMED: ReadonlySet<string> = new Set([
  "dsn",
  "connectionString",
  "password",
  "pipeline",
  "pipelineDepth",
  "pipelineMaxAgeMs",
  "maxOpenConns",
  "poolSize",
  "minIdleConns",
  "connMaxLifetimeMs",
  "connMaxIdleTimeMs",
  "acquireTimeoutMs",
  "queryTimeoutMs",
] satisfies (keyof DbPoolOptions | "poolSize")[]);

/**
 * `pool.options` as pg.Pool has it: libraries read `max`, some make a client of their own from it, and a second pool can
 * be made from it. What holds the password is there to be read but not enumerable, so that no log line or inspection
 * shows it.
 */
export function compatibleOptions(given: DbPoolOptions, resolved: ResolvedOptions): pg.PoolOptions {
  const rest = Object.fromEntries(Object.entries(given).filter(([name]) => !RENAMED.has(name)));
  const { host, port, user, database, ssl, password } = resolved.server;
  const options = {
    ...rest,
    host,
    port,
    user,
    database,
    ssl,
    ...compatibleLimits(resolved),
    allowExitOnIdle: resolved.allowExitOnIdle,
  };
  const hidden = { configurable: true, enumerable: false, writable: true };
  Object.defineProperty(options, "password", { ...hidden, value: password });
  // Hidden as well: a client that is made of these options would take it for pg's own.
  for (const name of ["pipeline", "pipelineDepth", "pipelineMaxAgeMs"] as const) {
    if (given[name] !== undefined) Object.defineProperty(options, name, { ...hidden, value: given[name] });
  }
  const { connectionString } = resolved.clientConfig;
  if (connectionString !== undefined) {
    Object.defineProperty(options, "connectionString", { ...hidden, value: connectionString });
  }
  return options as pg.PoolOptions;
}

/** The limits among those options. */
export function compatibleLimits(limits: ResolvedLimits): Partial<pg.PoolOptions> {
  return {
    max: limits.maxOpen,
    min: limits.minIdle,
    maxUses: limits.maxUses,
    idleTimeoutMillis: orZero(limits.maxIdleTimeMs),
    connectionTimeoutMillis: orZero(limits.acquireTimeoutMs),
    maxLifetimeSeconds: orZero(limits.maxLifetimeMs) / 1_000,
    query_timeout: orZero(limits.queryTimeoutMs),
  };
}

/** pg.Pool's two hooks for a new connection. */
export async function prepare(client: pg.Client, { onConnect, verify }: ResolvedOptions): Promise<void> {
  let hook: "onConnect" | "verify" = "onConnect";
  try {
    if (onConnect !== undefined) await onConnect(client);
    hook = "verify";
    if (verify === undefined) return;
    await new Promise<void>((resolve, reject) => {
      verify(client, (error) => (error ? reject(error) : resolve()));
    });
  } catch (error) {
    markHook(error, hook);
    throw error;
  }
}

/** `_clients`, which tests that were written for pg.Pool look into. */
export function showClients(pool: pg.Pool, clients: () => readonly pg.Client[]): void {
  Object.defineProperty(pool, "_clients", { configurable: true, enumerable: false, get: clients });
}

interface Counts {
  readonly idle: number;
  readonly inUse: number;
  readonly connecting: number;
  readonly waiting: number;
  readonly expired: number;
}

/** pg.Pool's counts. @types/pg declares them as fields, which TypeScript does not let an accessor override. */
export function defineCounts<P extends object>(prototype: P, countsOf: (pool: P) => Counts): void {
  const count = (name: string, read: (counts: Counts) => number): void => {
    Object.defineProperty(prototype, name, {
      configurable: true,
      get(this: P) {
        return read(countsOf(this));
      },
    });
  };
  count("totalCount", ({ idle, inUse, connecting }) => idle + inUse + connecting);
  count("idleCount", ({ idle }) => idle);
  count("waitingCount", ({ waiting }) => waiting);
  count("expiredCount", ({ expired }) => expired);
}

/** pg writes "no limit" as 0. */
function orZero(ms: number): number {
  return ms === Infinity ? 0 : ms;
}
