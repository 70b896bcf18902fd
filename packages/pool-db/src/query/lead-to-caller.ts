import pg from "pg";

/**
 * Makes the stack of a server's error lead to whoever awaits the calling async function. As it comes, it ends in the
 * parser of the socket's data.
 */
export function leadToCaller(error: unknown): void {
  if (error instanceof pg.DatabaseError) Error.captureStackTrace(error, leadToCaller);
}
