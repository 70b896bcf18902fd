/**
 * Everything that this package throws on its own account. An error of the server (`pg.DatabaseError`, with its SQLSTATE
 * in `code`) is passed on as it came; all else is one of these, each with a stable `code` and the pool's name. None
 * holds a password or the values of a query.
 */
export class PoolError extends Error {
  override name = "PoolError";
  readonly code: string = "ERR_VG_DB";
  /** The name of the pool. */
  readonly pool: string;

  constructor(pool: string, message: string, options?: ErrorOptions) {
    super(`Pool ${pool}: ${message}`, options);
    this.pool = pool;
  }
}

/** An option, a DSN or an argument that cannot be right. */
export class PoolConfigError extends PoolError {
  override name = "PoolConfigError";
  override readonly code = "ERR_VG_DB_CONFIG";
}

/** A value of a query that cannot be sent, because turning it into text throws (`cause`). Nothing was sent. */
export class QueryValueError extends PoolError {
  override name = "QueryValueError";
  override readonly code = "ERR_VG_DB_VALUE";
}

/** The pool is closing or closed. */
export class PoolClosedError extends PoolError {
  override name = "PoolClosedError";
  override readonly code = "ERR_VG_DB_POOL_CLOSED";
}

/** `maxWaiting` acquires wait already; the pool sheds load rather than queue it. */
export class QueueFullError extends PoolError {
  override name = "QueueFullError";
  override readonly code = "ERR_VG_DB_QUEUE_FULL";
}

/** No connection became available in time. The message holds the state of the pool at that moment. */
export class AcquireTimeoutError extends PoolError {
  override name = "AcquireTimeoutError";
  override readonly code = "ERR_VG_DB_ACQUIRE_TIMEOUT";
}

/** A connection could not be opened; `cause` says why (ECONNREFUSED, a wrong password, too many connections). */
export class ConnectError extends PoolError {
  override name = "ConnectError";
  override readonly code = "ERR_VG_DB_CONNECT";
}

/** The connection ended while a query ran on it: whether the server carried the query out is unknown. Or, with `sent` false, before. */
export class ConnectionLostError extends PoolError {
  override name = "ConnectionLostError";
  override readonly code = "ERR_VG_DB_CONNECTION_LOST";
  /** False: the statement never left, and may be repeated. */
  readonly sent: boolean;

  constructor(pool: string, message: string, { sent = true, ...options }: ErrorOptions & { sent?: boolean } = {}) {
    super(pool, message, options);
    this.sent = sent;
  }
}

/**
 * A query outlasted its `timeoutMs`: the server was asked to cancel it; whether it took effect all the same is unknown. Or
 * it did not get its turn in that time, and was never sent. Or a `transaction()` outlasted its own, and was rolled back.
 */
export class QueryTimeoutError extends PoolError {
  override name = "QueryTimeoutError";
  override readonly code = "ERR_VG_DB_QUERY_TIMEOUT";
  /** The option that was hit. */
  readonly limitedBy: "timeoutMs" | "queryTimeoutMs";
  readonly timeoutMs: number | undefined;
  /** Whether it had been sent. */
  readonly sent: boolean;
  /** The server process that it ran on, when it was known. */
  readonly processId: number | undefined;

  constructor(
    pool: string,
    message: string,
    {
      limitedBy,
      timeoutMs,
      sent,
      processId,
    }: Pick<QueryTimeoutError, "limitedBy" | "timeoutMs" | "sent"> & { processId?: number | undefined },
  ) {
    super(pool, message);
    this.limitedBy = limitedBy;
    this.timeoutMs = timeoutMs;
    this.sent = sent;
    this.processId = processId;
  }
}

/** A connection was used or released after it had gone back to the pool. A bug in the calling code. */
export class LeaseReleasedError extends PoolError {
  override name = "LeaseReleasedError";
  override readonly code = "ERR_VG_DB_LEASE_RELEASED";
}

/** A transaction or savepoint was used after its end, or ended by a COMMIT or ROLLBACK sent as a statement: a bug in the calling code. */
export class TransactionStateError extends PoolError {
  override name = "TransactionStateError";
  override readonly code = "ERR_VG_DB_TRANSACTION_STATE";
}

/** The server answered COMMIT with ROLLBACK, because a statement had failed before (`cause`). Nothing was committed. */
export class TransactionAbortedError extends PoolError {
  override name = "TransactionAbortedError";
  override readonly code = "ERR_VG_DB_TRANSACTION_ABORTED";
}

/** The connection was lost while COMMIT ran: the transaction may have been committed or not. Never retried by itself. */
export class CommitUnknownError extends PoolError {
  override name = "CommitUnknownError";
  override readonly code = "ERR_VG_DB_COMMIT_UNKNOWN";
}

const failedHooks = new WeakMap<object, string>();

/** Remembers that a hook for new connections has failed with this error, which stays as it is. */
export function markHook(error: unknown, hook: "onConnect" | "verify"): void {
  if (typeof error === "object" && error !== null) failedHooks.set(error, hook);
}

/** As `describeError`, of a failure to get a connection ready: says so when a hook of the user's was it. */
export function describeConnectError(error: unknown): string {
  const hook = typeof error === "object" && error !== null ? failedHooks.get(error) : undefined;
  return hook === undefined ? describeError(error) : `${hook} failed: ${describeError(error)}`;
}

/**
 * An error as one line. The error for a name that resolves to several addresses has an empty message and the reasons in
 * `errors`; some others have only a code.
 */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (error.message !== "") return error.message;
  if (error instanceof AggregateError && error.errors.length > 0) return error.errors.map(describeError).join("; ");
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? code : error.name;
}
