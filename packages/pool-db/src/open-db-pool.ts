import { DbPool } from "./db-pool.ts";
import { AcquireTimeoutError, ConnectError, QueryTimeoutError, describeConnectError } from "./errors.ts";
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
  const since = performance.now();
  try {
    await pool.query("SELECT 1", [], { timeoutMs: OPEN_TIMEOUT_MS });
    return pool;
  } catch (error) {
    const cause = reasonOf(error);
    const elapsedMs = Math.round(performance.now() - since);
    const reason = isSilence(cause) ? `no answer within ${elapsedMs} ms` : describeConnectError(cause);
    await pool.destroy();
    throw new ConnectError(
      pool.name,
      `could not be opened: ${reason}. Check the server's address, the database, the user and the password, and that the server is up.`,
      { cause },
    );
  }
}

/** "Could not connect: ECONNREFUSED" needs no second "could not connect" around it. */
function reasonOf(error: unknown): unknown {
  const wrapped = error instanceof ConnectError || error instanceof AcquireTimeoutError;
  return wrapped ? (error.cause ?? error) : error;
}

/** Whether the server has said nothing, not even why not. */
function isSilence(error: unknown): boolean {
  return error instanceof AcquireTimeoutError || error instanceof QueryTimeoutError;
}
