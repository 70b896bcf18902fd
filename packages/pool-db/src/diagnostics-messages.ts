import type { RemovalReason } from "./pool/pool-stats.ts";

/** What the messages about one connection have in common. */
interface OfConnection {
  /** The pool's name. */
  readonly pool: string;
  /** The server's process behind the connection, as in `pg_stat_activity`. */
  readonly processId: number | undefined;
}

/** Published to `vg:pool-db:acquire` when a connection is lent; while it is shared, when the first of its holders gets it. */
export interface DbAcquireMessage extends OfConnection {
  /** Since it was asked for; 0 when it was free. */
  readonly waitedMs: number;
}

/** Published to `vg:pool-db:release` when it comes back; while it is shared, from the last of its holders. */
export interface DbReleaseMessage extends OfConnection {
  readonly heldMs: number;
  /** Why it must not be used again, as its holder said; `undefined` when it may be. */
  readonly discard: unknown;
}

/** Published to `vg:pool-db:connect` at the end of each dial. */
export interface DbConnectMessage extends OfConnection {
  readonly durationMs: number;
  /** What it failed with. */
  readonly error: unknown;
}

/** Published to `vg:pool-db:remove` for each connection that left the pool. */
export interface DbRemoveMessage extends OfConnection {
  readonly reason: RemovalReason;
}

/** Published to `vg:pool-db:timeout` for each acquire that ran into its deadline. */
export interface DbTimeoutMessage {
  readonly pool: string;
  readonly waitedMs: number;
}

/** Published to `vg:pool-db:leak` when a connection has been held for longer than `leakDetectionThresholdMs`. */
export interface DbLeakMessage extends OfConnection {
  readonly heldMs: number;
  /** Where it was acquired: the frames of the caller's code, one a line. */
  readonly acquiredAt: string;
}

/** Published to `vg:pool-db:query` at the end of each query of the pool. */
export interface DbQueryMessage {
  readonly pool: string;
  readonly durationMs: number;
  /** How many rows were returned or affected; 0 when it failed. */
  readonly rows: number;
  /** What it failed with. */
  readonly error: unknown;
  /** Whether its connection was shared. */
  readonly pipelined: boolean;
}
