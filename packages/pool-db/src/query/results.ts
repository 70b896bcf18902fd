/** What `queryRow` and `exec` make of pg's result, which is an array where the text held several statements. */
import type pg from "pg";

/** The first row of the result; of several, of the last one that has rows to give. */
export function firstRow<R extends pg.QueryResultRow>(
  result: pg.QueryResult<R> | readonly pg.QueryResult<R>[],
): R | undefined {
  if (!Array.isArray(result)) return (result as pg.QueryResult<R>).rows[0];
  const answering = (result as readonly pg.QueryResult<R>[]).findLast(({ fields }) => fields.length > 0);
  return answering?.rows[0];
}

/** How many rows were affected, by all statements together. */
export function affectedRows(result: pg.QueryResult | readonly pg.QueryResult[]): number {
  if (!Array.isArray(result)) return (result as pg.QueryResult).rowCount ?? 0;
  return (result as readonly pg.QueryResult[]).reduce((sum, { rowCount }) => sum + (rowCount ?? 0), 0);
}
