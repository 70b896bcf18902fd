import type pg from "pg";
import { ConnectionLostError, QueryTimeoutError, describeError } from "../errors.ts";
import { sendCancelRequest } from "../protocol/cancel-request.ts";
import { activityOf, destroyNow } from "../protocol/pg-client.ts";
import { watchLimits, type Limits } from "./limits.ts";
import { sqlStateOf } from "./sql-state.ts";

/** A query as pg takes it: its text, or a config object with `text`, `name`, `rowMode`, `types`. */
export type QueryInput = string | pg.QueryConfig<never>;

/**
 * Runs one query on a client that is the caller's alone, and resolves with pg's result.
 *
 * When a limit is hit the caller is rejected at once; the server is asked to cancel the query and the connection is
 * destroyed, because its answer would otherwise reach whoever uses it next. Afterwards `activityOf(client)` is "dead".
 */
export function runQuery<T extends object>(
  pool: string,
  client: pg.Client,
  input: QueryInput,
  values: readonly unknown[] | undefined,
  limits: Limits,
): Promise<T> {
  return new Promise((resolve, reject) => {
    if (limits.signal?.aborted) {
      reject(limits.signal.reason);
      return;
    }
    if (activityOf(client) === "dead") {
      reject(
        new ConnectionLostError(pool, "the connection was lost before the query could be sent. It may be repeated."),
      );
      return;
    }
    const off = watchLimits(limits, timeoutError(pool, limits), (error) => {
      // The rejection comes first: destroying the socket makes pg reject this query too, with an error that says less.
      reject(error);
      sendCancelRequest(client);
      destroyNow(client);
    });
    const done = (error: Error | null | undefined, result: unknown): void => {
      off();
      if (error) reject(explain(pool, client, error));
      else resolve(result as T);
    };
    try {
      (client.query as QueryWithCallback).call(client, plainConfig(input, values), done);
    } catch (error) {
      off();
      reject(error);
    }
  });
}

type QueryWithCallback = (config: object, callback: (error: Error | null | undefined, result: unknown) => void) => void;

/** The error of a query whose time was up, whether it ran or waited for the one before it. */
export function timeoutError(pool: string, { timeoutMs, allowedMs = timeoutMs }: Limits): () => QueryTimeoutError {
  return () =>
    new QueryTimeoutError(
      pool,
      `the query did not end within ${allowedMs} ms and was given up; its connection was destroyed. Raise timeoutMs, or make the query faster.`,
    );
}

/**
 * A copy that may be changed: older versions of pg write the callback into the caller's object. `text` and the others
 * are read by name because template-tag libraries have them as getters of a class.
 */
function plainConfig(input: QueryInput, values: readonly unknown[] | undefined): object {
  if (typeof input === "string") return { text: input, values };
  const { name, text } = input;
  const config: Record<string, unknown> = { ...input, name, text, values: values ?? input.values };
  // pg's own timeout leaves a client behind that looks free and is not.
  delete config["query_timeout"];
  return config;
}

/** Makes a lost connection recognisable: pg's own error for it has no code. */
function explain(pool: string, client: pg.Client, error: Error): Error {
  if (sqlStateOf(error) === undefined && activityOf(client) === "dead") {
    return new ConnectionLostError(
      pool,
      `the connection was lost while a query ran: ${describeError(error)}. Whether the server carried it out is unknown; repeat it only if that does no harm.`,
      { cause: error },
    );
  }
  return error;
}
