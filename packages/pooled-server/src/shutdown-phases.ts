/** What a server closes, in the order in which requests need it, each part with its share of the time. */
import type { DbPool } from "@vg/pool-db";
import type { HttpPool } from "@vg/pool-http";
import { LifecycleError } from "./errors.ts";
import type { Upgrades } from "./adapters/upgrades.ts";
import type { ActiveRequests } from "./lifecycle/active-requests.ts";
import type { Closers } from "./lifecycle/closers.ts";
import type { Listening } from "./lifecycle/listening.ts";
import type { PhaseBudget, ShutdownPhase } from "./lifecycle/shutdown.ts";
import type { NodeRequestContext } from "./request/request-context.ts";

/** Shares of the time, in relation to one another; see `runPhases`. */
const WEIGHT = { requests: 70, closers: 12, httpPool: 5, dbPool: 8, caches: 1 } as const;
/** The log's, which comes after all of these and tells of them. */
export const LOG_WEIGHT = 4;

/** How long connections that are not idle, but have no request, get to send the one that may be on its way. */
const LINGER_MS = 100;
/** How long a request whose connection was cut may take until its books are closed: its log line, its usage row. */
const BOOKS_MS = 100;
const BOOKS_PART = 0.1;
const MAX_NAMED = 20;

interface Parts {
  active: ActiveRequests<NodeRequestContext>;
  listening: Listening;
  upgrades: Upgrades;
  closers: Closers;
  httpPool: HttpPool;
  dbPool: DbPool | undefined;
  caches: readonly { close(): void }[];
}

export function shutdownPhases({
  active,
  listening,
  upgrades,
  closers,
  httpPool,
  dbPool,
  caches,
}: Parts): ShutdownPhase[] {
  return [
    { name: "requests", weight: WEIGHT.requests, run: (budget) => endRequests(active, listening, upgrades, budget) },
    {
      name: "closers",
      composed: true,
      // Read when the time is shared out: some may be registered until then.
      get weight() {
        return closers.size === 0 ? 0 : WEIGHT.closers;
      },
      run: (budget) => closers.run(budget),
    },
    { name: "http pool", weight: WEIGHT.httpPool, run: (budget) => closeHttpPool(httpPool, budget) },
    ...(dbPool === undefined
      ? []
      : [{ name: "database pool", weight: WEIGHT.dbPool, run: (budget: PhaseBudget) => closeDbPool(dbPool, budget) }]),
    {
      name: "caches",
      weight: WEIGHT.caches,
      run: () => {
        for (const cache of caches) cache.close();
      },
    },
  ];
}

async function endRequests(
  active: ActiveRequests<NodeRequestContext>,
  listening: Listening,
  upgrades: Upgrades,
  { deadlineMs, deadline }: PhaseBudget,
): Promise<string[]> {
  const allClosed = listening.stop();
  const booksMs = Math.min(BOOKS_MS, deadlineMs * BOOKS_PART);
  const reason = new LifecycleError("The server is shutting down");
  upgrades.drain(reason);
  const aborted = await active.end(deadlineMs - booksMs, deadline, reason);
  const words = aborted.map((request) =>
    active.has(request)
      ? `${active.describe(request)} ignored the abort and was cut`
      : `${active.describe(request)} was aborted`,
  );
  if (aborted.length === 0) await deadline.within(allClosed, Math.min(LINGER_MS, deadline.leftMs));
  listening.cut();
  upgrades.cut(reason);
  await active.idle(booksMs, deadline);
  return atMost(MAX_NAMED, words, "requests");
}

function atMost(most: number, words: readonly string[], what: string): string[] {
  if (words.length <= most) return [...words];
  return [...words.slice(0, most), `${words.length - most} more ${what}`];
}

async function closeHttpPool(pool: HttpPool, { deadlineMs, signal }: PhaseBudget): Promise<string[]> {
  signal.addEventListener("abort", () => pool.destroy());
  const { killed, killed_requests: named } = await pool.close({ deadlineMs });
  return killed > named.length ? [...named, `${killed - named.length} more requests`] : [...named];
}

async function closeDbPool(pool: DbPool, { deadlineMs, signal }: PhaseBudget): Promise<string[]> {
  signal.addEventListener("abort", () => void pool.destroy());
  const { killed, rejected_waiters: waiters } = await pool.close({ deadlineMs });
  const words = killed.map(
    ({ process_id, held_ms }) => `connection ${process_id ?? "?"} was held for ${Math.round(held_ms)} ms`,
  );
  const held = atMost(MAX_NAMED, words, "connections");
  return waiters === 0 ? held : [...held, `${waiters} callers were still waiting for a connection`];
}
