/** The forms in which pg.Pool's methods are called, brought to one. */
import type pg from "pg";
import type { QueryOptions } from "./limits.ts";
import type { QueryInput } from "./run-query.ts";

export type Callback = (error: Error | undefined, result?: unknown) => void;

export interface QueryCall {
  input: QueryInput;
  values: readonly unknown[] | undefined;
  options: QueryOptions;
  callback: Callback | undefined;
}

/** A cursor, a query stream, or a `pg.Query`: it speaks to the connection itself. */
export function isSubmittable(value: unknown): value is pg.Submittable {
  return typeof (value as { submit?: unknown } | null | undefined)?.submit === "function";
}

/**
 * `query(input, values?, options?)` and pg's `query(input, values?, callback)`. A `query_timeout` in the config object
 * counts as `timeoutMs`.
 * @throws {TypeError} for what pg cannot run either
 */
export function readQueryCall(input: unknown, second: unknown, third: unknown): QueryCall {
  const isConfig = typeof input === "object" && input !== null;
  if (typeof input !== "string" && !isConfig) {
    const given =
      input === null ? "null" : typeof input === "function" ? "a function as the first parameter" : typeof input;
    throw new TypeError(`query() takes SQL text or a config object, got ${given}`);
  }
  const callback = [second, third].find((argument) => typeof argument === "function") as Callback | undefined;
  const values = typeof second === "function" ? undefined : (second as readonly unknown[] | null | undefined);
  const options: QueryOptions = typeof third === "object" ? { ...third } : {};
  const fromConfig = isConfig ? (input as { query_timeout?: unknown }).query_timeout : undefined;
  if (options.timeoutMs === undefined && typeof fromConfig === "number" && fromConfig > 0)
    options.timeoutMs = fromConfig;
  return { input: input as QueryInput, values: values ?? undefined, options, callback };
}

/**
 * Answers by callback where there is one and by promise otherwise. The callback runs in the caller's async context, never
 * within the call, and what it throws is an uncaught error as with any callback.
 */
export function answer<T>(promise: Promise<T>, callback: Callback | undefined): Promise<T> | undefined {
  if (callback === undefined) return promise;
  promise.then(
    (result) => process.nextTick(callback, undefined, result),
    (error: unknown) => process.nextTick(callback, error),
  );
  return undefined;
}

/** Tells a submittable that never got a connection. */
export function failSubmittable(submittable: pg.Submittable, error: unknown): void {
  const { handleError, emit } = submittable as { handleError?: unknown; emit?: unknown };
  if (typeof handleError === "function") handleError.call(submittable, error);
  else if (typeof emit === "function") emit.call(submittable, "error", error);
}
