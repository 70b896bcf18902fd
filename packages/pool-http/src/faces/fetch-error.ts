import { HttpPoolError } from "../errors.ts";

/** Errors of the pool become what fetch rejects with; everything else is the caller's own reason. */
export function toFetchError(error: unknown, message: string): unknown {
  return error instanceof HttpPoolError ? new TypeError(message, { cause: error }) : error;
}
