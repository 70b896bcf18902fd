/** What a caller gives for one query, checked and brought to one form. */
import { describeValue } from "@vg/internal";
import type pg from "pg";
import { PoolConfigError } from "../errors.ts";
import { serialise } from "../protocol/values.ts";
import { QUERY_OPTIONS, checkCallOptions } from "./call-options.ts";
import type { QueryOptions } from "./limits.ts";
import type { WireQuery } from "./run-query.ts";

/** A query as pg takes it. */
export interface QueryConfig {
  readonly text: string;
  /** A name makes it a prepared statement of its connection: the server parses it once. */
  readonly name?: string | undefined;
  /** For `$1`, `$2`, …; values that are given beside the config take precedence. */
  readonly values?: readonly unknown[] | undefined;
  /** Rows as arrays of values instead of objects. */
  readonly rowMode?: "array" | undefined;
  readonly types?: pg.CustomTypesConfig | undefined;
  /** pg's name for `timeoutMs`, which takes precedence; 0 is none. */
  readonly query_timeout?: number | undefined;
}

/** A query's text, or a config object. */
export type QueryInput = string | QueryConfig;

/** One query as the layers below take it. */
export interface QueryCall extends WireQuery {
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number | undefined;
}

/**
 * @throws {PoolConfigError} for what cannot be a query, its values or its options
 * @throws whatever serialising a value throws
 */
export function readQueryCall(
  pool: string,
  input: QueryInput,
  values: readonly unknown[] | null | undefined,
  options: QueryOptions | undefined,
): QueryCall {
  if (typeof input !== "string" && (typeof input !== "object" || input === null)) {
    const given = typeof input === "function" ? "a function as the first parameter" : describeValue(input);
    throw new PoolConfigError(pool, `query() takes SQL text or a config object with text, got ${given}.`);
  }
  checkCallOptions(pool, "query()", options, QUERY_OPTIONS);
  const { signal, timeoutMs } = options ?? {};
  if (typeof input === "string") return { query: input, values: wireValues(pool, values), signal, timeoutMs };
  // A copy, because older versions of pg write the callback into it. `text` and the others are read by name because
  // template-tag libraries have them as getters of a class.
  const { name, text, values: own, query_timeout: ownTimeout } = input;
  const query: Record<string, unknown> = { ...input, name, text, values: undefined };
  // pg's own timeout leaves a client behind that looks free and is not.
  delete query["query_timeout"];
  return {
    query,
    values: wireValues(pool, values ?? own),
    signal,
    timeoutMs: timeoutMs ?? readOwnTimeout(pool, ownTimeout),
  };
}

function wireValues(pool: string, values: unknown): unknown[] | undefined {
  if (values === undefined || values === null) return undefined;
  if (Array.isArray(values)) return serialise(values);
  // Its type only: values do not belong in errors.
  throw new PoolConfigError(pool, `query(): values must be an array, got a ${typeof values}.`);
}

function readOwnTimeout(pool: string, ms: unknown): number | undefined {
  if (ms === undefined || ms === null || ms === false || ms === 0) return undefined;
  if (typeof ms === "number" && ms > 0) return ms;
  throw new PoolConfigError(
    pool,
    `query(): query_timeout must be a number of milliseconds of at least 0 (none), got ${describeValue(ms)}.`,
  );
}
