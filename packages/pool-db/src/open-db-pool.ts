import { DbPool } from "./db-pool.ts";
import { ConnectError, describeError } from "./errors.ts";
import type { DbPoolOptions } from "./options.ts";

const OPEN_TIMEOUT_MS = 5_000;

/**
 * Makes a pool and has the server answer once, within 5 seconds, so that a wrong address or password shows at the start
 * of the service and not in its first request.
 * @throws {PoolConfigError} an option cannot be right
 * @throws {ConnectError} no answer; the pool is closed and `cause` says why
 */
export async function openDbPool(options: DbPoolOptions = {}): Promise<DbPool> {
  const pool = new DbPool(options);
  try {
    await pool.query("SELECT 1", [], { timeoutMs: OPEN_TIMEOUT_MS });
    return pool;
  } catch (error) {
    await pool.destroy();
    // "Could not connect: ECONNREFUSED" needs no second "could not connect" around it.
    const cause = error instanceof ConnectError ? error.cause : error;
    throw new ConnectError(
      pool.name,
      `could not be opened: ${describeError(cause)}. Check the server's address, the user and the password, and that the server is up.`,
      { cause },
    );
  }
}
