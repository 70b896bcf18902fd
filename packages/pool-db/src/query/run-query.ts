import type pg from "pg";
import { ConnectionLostError, QueryTimeoutError, describeError } from "../errors.ts";
import { activityOf, destroyNow, processIdOf } from "../protocol/pg-client.ts";
import { markFailed, runBatchByPg } from "./batch.ts";
import { giveUp } from "./cancellation.ts";
import { watchLimits, type Limits } from "./limits.ts";
import type { QueryCall } from "./query-call.ts";
import { sqlStateOf } from "./sql-state.ts";
import type { KnownStatement } from "./statement-book.ts";
import { WatchedQuery, inheritedQuery, isPgsOwnQuery } from "./watched-query.ts";
import { runnerOf, type StatementRunner } from "./statement-runner.ts";

/**
 * Runs one query on a client that is the caller's alone, and resolves with pg's result.
 *
 * When a limit is hit the caller is rejected at once and the query given up: `recovery(client)` says when the client can
 * be used again. With `atLimit: "close"` the connection is closed instead.
 */
export function runQuery<T extends object>(
  pool: string,
  client: pg.Client,
  call: QueryCall,
  limits: Limits,
  { known, shared = false }: Sharing = ALONE,
): Promise<T> {
  return new Promise((resolve, reject) => {
    if (limits.signal?.aborted) {
      reject(limits.signal.reason);
      return;
    }
    if (activityOf(client) === "dead") {
      reject(
        new ConnectionLostError(pool, "the connection was lost before the query could be sent. It may be repeated.", {
          sent: false,
        }),
      );
      return;
    }
    const off = watchLimits(limits, timeoutError(pool, client, limits), (error) => {
      // The rejection comes first: what follows makes pg reject this query too, with an error that says less.
      reject(error);
      if (limits.atLimit === "close") destroyNow(client);
      else giveUp(client);
    });
    const done = (error: unknown, result: unknown): void => {
      off();
      if (error) reject(explain(pool, client, error));
      else resolve(result as T);
    };
    try {
      start(client, call, { known, shared }, done);
    } catch (error) {
      off();
      reject(error);
    }
  });
}

/** How a query stands to those beside it. */
interface Sharing {
  /** What the pool knows of its text. */
  readonly known?: KnownStatement | undefined;
  /** Other queries may be under way on the connection. */
  readonly shared?: boolean;
}

const ALONE: Sharing = {};

type Done = (error: unknown, result: unknown) => void;

/** By the wire where that can be, else by pg. */
function start(client: pg.Client, call: QueryCall, { known, shared = false }: Sharing, done: Done): void {
  const { batch } = call;
  const runner = runnerOf(client, shared);
  if (batch !== undefined) {
    if (runner === undefined || batch.some(({ pgOnly }) => pgOnly)) {
      runBatchByPg(client, batch).then((results) => done(undefined, results), done as (error: unknown) => void);
    } else {
      runner.runBatch(batch, (error, results, failedAt) => {
        if (error !== undefined && failedAt >= 0) markFailed(error, failedAt);
        done(error, results);
      });
    }
    return;
  }
  const statement = call.pgOnly || runner === undefined ? undefined : (known ?? runner.look(call.text));
  if (runner !== undefined && statement?.plain === true) {
    if (shared || isPgsOwnQuery(inheritedQuery(client))) runner.run(call, statement, shared, done);
    else watched(client, runner, call, statement, done);
    return;
  }
  (client.query as QueryWithCallback).call(client, call.query, call.values, done);
}

/** Somebody watches pg's method, to trace it for example. */
function watched(
  client: pg.Client,
  runner: StatementRunner,
  call: QueryCall,
  statement: KnownStatement,
  done: Done,
): void {
  const query = new WatchedQuery(call, done, (self) =>
    runner.run(call, statement, false, (error, result) => self.callback(error, result), self),
  );
  client.query(query as unknown as pg.Submittable);
}

type QueryWithCallback = (query: string | object, values: readonly unknown[], callback: Done) => void;

/** The error of a query whose time was up while it ran. */
function timeoutError(
  pool: string,
  client: pg.Client,
  { timeoutMs, allowedMs = timeoutMs, atLimit, limitedBy = "timeoutMs" }: Limits,
): () => QueryTimeoutError {
  const fate = atLimit === "close" ? "its connection was closed" : "the server is asked to cancel it";
  return () => {
    const processId = processIdOf(client);
    return new QueryTimeoutError(
      pool,
      `the query did not end within ${allowedMs} ms (${limitedBy}) and was given up while it ran (server process ${processId}); ${fate}. Raise ${limitedBy}, or make the query faster.`,
      { limitedBy, timeoutMs: allowedMs, sent: true, processId },
    );
  };
}

/** Makes a lost connection recognisable: pg's own error for it has no code. */
function explain(pool: string, client: pg.Client, error: unknown): unknown {
  if (sqlStateOf(error) === undefined && activityOf(client) === "dead") {
    return new ConnectionLostError(
      pool,
      `the connection was lost while a query ran: ${describeError(error)}. Whether the server carried it out is unknown; repeat it only if that does no harm.`,
      { cause: error },
    );
  }
  return error;
}
