export { DbPool, type CloseReport, type DbHealth } from "./db-pool.ts";
export {
  AcquireTimeoutError,
  CommitUnknownError,
  ConnectError,
  ConnectionLostError,
  LeaseReleasedError,
  PoolClosedError,
  PoolConfigError,
  PoolError,
  QueryTimeoutError,
  QueueFullError,
  TransactionAbortedError,
  TransactionStateError,
} from "./errors.ts";
export { openDbPool } from "./open-db-pool.ts";
export { dbPoolOptionsFromEnv, type DbPoolOptions, type Logger } from "./options.ts";
export type { Clock } from "./pool/alarm.ts";
export type { DbPoolStats } from "./pool/pool-stats.ts";
export type { DbConnection } from "./query/connection.ts";
export type { QueryOptions } from "./query/limits.ts";
export type { QueryInput } from "./query/run-query.ts";
export type { IsolationLevel, Savepoint, TransactionOptions, Tx } from "./query/transaction.ts";
