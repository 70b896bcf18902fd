import type { Connection } from "./connection.ts";
import type { Failure } from "../failure.ts";

/** Why a connection was closed; the keys of `closed_by_reason`. */
export type CloseReason =
  /** Idle for longer than `idleConnTimeoutMs`, or than the server's Keep-Alive hint. */
  | "idle_timeout"
  /** `maxConnLifetimeMs` was over. */
  | "max_lifetime"
  /** Surplus over `maxIdleConns` or `maxIdleConnsPerHost`. */
  | "max_idle"
  /** Made room for another origin, because of `maxTotalConns`. */
  | "max_total"
  /** `closeIdleConnections()` was called. */
  | "asked"
  /** As old as one that turned out to be dead. */
  | "stale"
  /** Either side wanted to close after a response: `connection: close`, `disableKeepAlives`. */
  | "not_kept"
  /** Its request failed or was given up: deadline, abort, a stream that was not read to its end. */
  | "request_failed"
  /** It was made with TLS settings that `setTls()` has replaced. */
  | "tls_replaced"
  /** The server closed it (HTTP/2: or left), or it broke, while nobody used it. */
  | "server"
  /** The pool was closed. */
  | "pool_closed";

/** Hears of the connections of all origins. Nothing here may throw. */
export interface ConnectionWatcher {
  connected(origin: string, connection: Connection): void;
  /** A dial ended without one. */
  failed(origin: string, failure: Failure, durationMs: number): void;
  /** Once for each connection. */
  closed(origin: string, connection: Connection, reason: CloseReason): void;
}
