/** Several statements in one round trip. */
import type pg from "pg";
import { describeValue } from "@vg/internal";
import { PoolConfigError } from "../errors.ts";
import { transactionStatusOf } from "../protocol/pg-client.ts";
import { LIMITS, checkCallOptions } from "./call-options.ts";
import { copiesIn } from "./classify.ts";
import type { QueryOptions } from "./limits.ts";
import { ownStatement, readQueryCall, type QueryCall, type QueryInput } from "./query-call.ts";

/** One statement of a batch: its text, its text and its values, or a config object. */
export type BatchItem = QueryInput | readonly [text: string, values?: readonly unknown[]];

/** A result for each statement. */
export type BatchResults<T extends readonly BatchItem[]> = { -readonly [K in keyof T]: pg.QueryResult };

/**
 * @throws {PoolConfigError} for what cannot be a batch or a statement
 * @throws {QueryValueError} for a value that cannot be serialised
 */
export function readBatch(pool: string, items: readonly BatchItem[], options: QueryOptions | undefined): QueryCall {
  checkCallOptions(pool, "batch()", options, LIMITS);
  if (!Array.isArray(items)) {
    throw new PoolConfigError(pool, `batch() takes an array of statements, got ${describeValue(items)}.`);
  }
  const batch = (items as readonly BatchItem[]).map((item, index) => {
    const what = `batch(): item ${index}`;
    const [input, values] = Array.isArray(item) ? (item as [string, unknown[]?]) : [item as QueryInput];
    const isObject = !Array.isArray(item) && typeof input === "object" && input !== null;
    if (typeof input !== "string" && !isObject) {
      const given = Array.isArray(item) ? `an array that begins with ${describeValue(input)}` : describeValue(item);
      throw new PoolConfigError(
        pool,
        `${what} must be SQL text, [text, values] or a config object with text, got ${given}.`,
      );
    }
    const call = readQueryCall(pool, input, values, undefined, what);
    if (!call.pgOnly && copiesIn(call.text)) {
      throw new PoolConfigError(
        pool,
        `${what} is a COPY FROM STDIN, and a batch has no data for it. Use a connection of its own.`,
      );
    }
    return call;
  });
  return { ...ownStatement("", options), batch };
}

/** The error of a batch says which statement failed, counted from 0. */
export function markFailed(error: unknown, statementIndex: number): void {
  if (error instanceof Error) Object.assign(error, { statementIndex });
}

/** Where the client has no wire: one after the other, in a transaction that the batch would have been without one. */
export async function runBatchByPg(client: pg.Client, batch: readonly QueryCall[]): Promise<pg.QueryResult[]> {
  const own = transactionStatusOf(client) === "I";
  const results: pg.QueryResult[] = [];
  if (own) await client.query("BEGIN");
  for (const [index, { query, values }] of batch.entries()) {
    try {
      results.push(await client.query(query as string, values as unknown[]));
    } catch (error) {
      markFailed(error, index);
      if (own) await client.query("ROLLBACK").catch(() => undefined);
      throw error;
    }
  }
  if (own) await client.query("COMMIT");
  return results;
}
