import { PoolConfigError } from "../errors.ts";
import { RETRIED_TRANSACTION_OPTIONS, TRANSACTION_OPTIONS, checkCallOptions } from "./call-options.ts";

export type IsolationLevel = "read uncommitted" | "read committed" | "repeatable read" | "serializable";

export interface TransactionOptions {
  /** Default: the server's, usually "read committed". */
  isolation?: IsolationLevel | undefined;
  /** Default false. */
  readOnly?: boolean | undefined;
  /**
   * Only with isolation "serializable" and `readOnly`: the transaction may wait at its first statement, and from then on
   * never fails with a serialization failure nor makes others fail. For long reports. Default false.
   */
  deferrable?: boolean | undefined;
  /** Covers the wait for a connection and every statement; when it is aborted the transaction can only be rolled back. */
  signal?: AbortSignal | undefined;
  /**
   * Above 0. For `begin()`: the most that the wait for a connection and BEGIN take together; default `acquireTimeoutMs`
   * for the one and `queryTimeoutMs` for the other. For `transaction()`: the most that all of it takes, with its waits,
   * retries and COMMIT; default none.
   */
  timeoutMs?: number | undefined;
}

/**
 * Checks the options of `begin()` and `transaction()`.
 * @throws {PoolConfigError}
 */
export function checkTransactionOptions(
  pool: string,
  method: "begin()" | "transaction()",
  options: TransactionOptions,
): void {
  checkCallOptions(pool, method, options, method === "begin()" ? TRANSACTION_OPTIONS : RETRIED_TRANSACTION_OPTIONS);
  const { deferrable, isolation, readOnly } = options;
  if (deferrable !== true || (isolation === "serializable" && readOnly === true)) return;
  throw new PoolConfigError(
    pool,
    `${method}: deferrable has an effect only with isolation: "serializable" and readOnly: true. Add them, or leave it out.`,
  );
}

export function beginStatement({ isolation, readOnly, deferrable }: TransactionOptions): string {
  const level = isolation === undefined ? "" : ` ISOLATION LEVEL ${isolation.toUpperCase()}`;
  return `BEGIN${level}${readOnly === true ? " READ ONLY" : ""}${deferrable === true ? " DEFERRABLE" : ""}`;
}
