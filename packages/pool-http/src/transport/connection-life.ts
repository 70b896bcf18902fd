/** How long a connection lives: whether it may take another request and, where not, why it closes. */
import type { ResolvedOptions } from "../options.ts";
import type { Connection } from "./connection.ts";
import type { CloseReason } from "./connection-watcher.ts";

/** Connections that are made together end at different times: up to this part of their lives earlier. */
const LIFETIME_JITTER = 0.1;

/** The clock's time at which the life of one that is made now will be over. */
export function dueAt({ maxConnLifetimeMs, clock, random }: ResolvedOptions): number {
  if (maxConnLifetimeMs === undefined) return Number.POSITIVE_INFINITY;
  return clock.now() + maxConnLifetimeMs * (1 - LIFETIME_JITTER * random());
}

/** Nobody has used it yet, and it was never left to itself. */
export function isFresh(connection: Connection): boolean {
  return connection.served === 0 && !connection.wasIdle;
}

/** Whether it may take no more requests. */
export function isOver(connection: Connection, { disableKeepAlives, clock }: ResolvedOptions): boolean {
  if (connection.socket.destroyed || connection.draining) return true;
  if (disableKeepAlives && connection.served > 0) return true;
  return connection.dueAt !== Number.POSITIVE_INFINITY && connection.dueAt <= clock.now();
}

/** Why one that is over closes. */
export function whyOver(connection: Connection, poolClosed: boolean, { clock }: ResolvedOptions): CloseReason {
  if (connection.broken) return "request_failed";
  if (connection.draining) return connection.closeReason ?? "server";
  if (poolClosed) return "pool_closed";
  return connection.dueAt <= clock.now() ? "max_lifetime" : "not_kept";
}

/** Why an idle one leaves, now that its time is over. */
export function expiry(connection: Connection, now: number): CloseReason {
  return connection.dueAt <= now ? "max_lifetime" : "idle_timeout";
}
