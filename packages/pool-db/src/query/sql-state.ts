import { describeError } from "../errors.ts";
import { isFatal } from "../protocol/server-error.ts";

/** The SQLSTATE of an error of the server, or `undefined` for any other error. */
export function sqlStateOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code, severity } = error as { code?: unknown; severity?: unknown };
  return typeof severity === "string" && typeof code === "string" ? code : undefined;
}

/** Names an error without the server's text, which may quote a value; the error itself goes along as the cause. */
export function nameFailure(error: unknown): string {
  const state = sqlStateOf(error);
  return state === undefined ? describeError(error) : `SQLSTATE ${state}, see cause`;
}

/**
 * Whether the connection cannot be used after this error: fatal ones, connection exceptions (class 08), shutdowns and the
 * like (57P01-57P05), sessions and transactions that took too long (25P03, 25P04). A protocol violation (08P01) that is not
 * fatal is one of the statement: it had a value too many, say.
 */
export function endsConnection(error: unknown): boolean {
  const state = sqlStateOf(error);
  if (state === undefined) return false;
  return isFatal(error) || (state !== "08P01" && /^(?:08|57P0[1-5]$|25P0[34]$)/.test(state));
}

/**
 * Whether the server rolled the transaction back through no fault of its statements, so that running it again may
 * succeed: class 40 (serialization failures, deadlocks), on the error or on one of its causes. Not 40003, which leaves
 * the outcome open.
 */
export function isRollbackToRetry(error: unknown): boolean {
  for (let depth = 0, current = error; current instanceof Error && depth < 8; depth++, current = current.cause) {
    const state = sqlStateOf(current);
    if (state !== undefined) return state.startsWith("40") && state !== "40003";
  }
  return false;
}

/**
 * Whether the server refused a login because it has no room or is not ready yet, which passes: 53300 (too many
 * connections), 57P03 (starting up, shutting down, or recovering).
 */
export function isCapacity(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state === "53300" || state === "57P03";
}
