export { toPgBoss, type PgBossDb, type PgBossSession, type PgBossTransaction } from "./adapters/pg-boss.ts";
export type { CloseReport } from "./close-report.ts";
export { DbPool } from "./db-pool.ts";
export type { DbPoolStats } from "./db-pool-stats.ts";
export type {
  DbAcquireMessage,
  DbConnectMessage,
  DbLeakMessage,
  DbQueryMessage,
  DbReleaseMessage,
  DbRemoveMessage,
  DbTimeoutMessage,
} from "./diagnostics-messages.ts";
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
  QueryValueError,
  QueueFullError,
  TransactionAbortedError,
  TransactionStateError,
} from "./errors.ts";
export type { DbHealth, HealthOptions } from "./health.ts";
export type { DbPoolChanges } from "./limit-options.ts";
export { openDbPool } from "./open-db-pool.ts";
export { dbPoolOptionsFromEnv, type DbPoolOptions, type Logger } from "./options.ts";
export type { Clock } from "./pool/alarm.ts";
export type { DbHistogram, DbPoolHistograms } from "./pool/pool-stats.ts";
export type { DbConnection } from "./query/connection.ts";
export type { BatchItem, BatchResults } from "./query/batch.ts";
export type { QueryOptions } from "./query/limits.ts";
export type { QueryConfig, QueryInput } from "./query/query-call.ts";
export type { Savepoint } from "./query/savepoint.ts";
export type { Tx } from "./query/transaction.ts";
export type { IsolationLevel, TransactionOptions } from "./query/transaction-options.ts";
