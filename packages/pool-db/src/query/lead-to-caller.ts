import pg from "pg";
import { PoolError } from "../errors.ts";

/**
 * Makes the stack of an error of the server's, or of ours, lead to whoever awaits the calling async function. As it comes,
 * it ends in the parser of the socket's data, or in a timer.
 */
export function leadToCaller(error: unknown): void {
  if (error instanceof pg.DatabaseError || error instanceof PoolError) Error.captureStackTrace(error, leadToCaller);
}
