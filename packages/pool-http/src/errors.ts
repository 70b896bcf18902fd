/**
 * Every failure of this package, one class a cause. Tell them apart by `code`, which is stable; `instanceof` fails
 * where two copies of the package are installed.
 *
 * Two things are thrown that are not from here: the `reason` of the caller's own AbortSignal, and a TypeError of the
 * language. A response of any status is no error at all.
 */

/** Where a request was when it failed. */
export type HttpPhase = "queue" | "connect" | "tls" | "headers" | "body" | "backoff";

/**
 * One try of a request, as it went over one connection. Its time is the sum of the five that follow it; each is 0 where
 * it was not in that phase.
 */
export interface HttpAttempt {
  /** From 1. */
  readonly number: number;
  /** Why it was made. A `resend` replaces a try that died on a stale connection and is no retry. */
  readonly cause: "first" | "retry" | "resend" | "redirect";
  /** For a retry, the wait before it; no part of `time_ms`. */
  readonly backoff_ms: number;
  /** Milliseconds from the start of the request to the start of this attempt. */
  readonly started_ms: number;
  /** How long it took until its response was complete (streams: until its headers) or it failed. */
  readonly time_ms: number;
  /** Waiting for a connection, without its dial. */
  readonly queue_ms: number;
  /** DNS and TCP of the dial that it waited for. */
  readonly connect_ms: number;
  readonly tls_ms: number;
  /** From having a connection to the headers of the response, the sending included. */
  readonly headers_ms: number;
  readonly body_ms: number;
  /** Over a connection that had served before. */
  readonly reused: boolean;
  /** Whether any part of it left. */
  readonly sent: boolean;
  /** The status, where a response came. */
  readonly status?: number;
  /** The code of the failure, where none came or its body broke: "ECONNRESET", "ERR_VG_HTTP_TIMEOUT". */
  readonly error_code?: string;
  /** Why it was the last, though it could have been repeated. */
  readonly not_retried?: HttpNotRetried;
}

/**
 * - `max_retries`: all retries were made.
 * - `deadline`: the wait before the next one would have passed `timeoutMs`.
 * - `budget`: `retryBudget` of this origin is used up.
 * - `one_shot_body`: the body can be read only once, and has been.
 * - `not_idempotent`: the server may have acted on it. With an Idempotency-Key it would be repeated; on 429 and 503 also
 *   with `retryOn: "rejected"`.
 */
export type HttpNotRetried = "max_retries" | "deadline" | "budget" | "one_shot_body" | "not_idempotent";

/** Where the time of a request went, all attempts together; milliseconds. */
export interface HttpPhaseTimes {
  /** Waiting for a connection, without the dials. */
  readonly queue_ms: number;
  /** DNS and TCP of the connections that were made for it; 0 on reused ones. */
  readonly connect_ms: number;
  readonly tls_ms: number;
  /** From having a connection to the headers of the response. */
  readonly headers_ms: number;
  readonly body_ms: number;
  /** The waits before retries. */
  readonly backoff_ms: number;
  /** To the end of the body; for a stream, to its headers; for an error, to the error. */
  readonly total_ms: number;
}

/** What an error knows about the request. */
export interface HttpErrorContext {
  readonly pool?: string | undefined;
  readonly request?: string | undefined;
  readonly phase?: HttpPhase | undefined;
  readonly attempts?: readonly HttpAttempt[] | undefined;
  readonly timings?: HttpPhaseTimes | undefined;
  readonly sent?: boolean | undefined;
  readonly retryable?: boolean | undefined;
  readonly cause?: unknown;
}

export abstract class HttpPoolError extends Error {
  abstract readonly code: string;
  /** The pool's name. */
  readonly pool: string | undefined;
  /** "GET https://api.example.com/data": no credentials, no query. */
  readonly request: string | undefined;
  readonly phase: HttpPhase | undefined;
  /** All attempts that were made, in order. */
  readonly attempts: readonly HttpAttempt[];
  /** Where the time went; `undefined` where the request never began. */
  readonly timings: HttpPhaseTimes | undefined;
  /** Whether any part of the request left, in any attempt; where it is false, no server has acted on it. */
  readonly sent: boolean;
  /** Whether making the same request again may help and can do no harm. Wait first: all retries were used. */
  readonly retryable: boolean;

  constructor(message: string, context: HttpErrorContext = {}) {
    super(message, context.cause === undefined ? undefined : { cause: context.cause });
    this.pool = context.pool;
    this.request = context.request;
    this.phase = context.phase;
    this.attempts = context.attempts ?? [];
    this.timings = context.timings;
    this.sent = context.sent ?? false;
    this.retryable = context.retryable ?? false;
  }
}

/** An option or an environment variable is wrong. */
export class HttpPoolConfigError extends HttpPoolError {
  readonly code = "ERR_VG_HTTP_CONFIG";
  override name = "HttpPoolConfigError";
}

/** The request itself is wrong: its URL, a header, an option, or its body's source failed. */
export class HttpRequestError extends HttpPoolError {
  readonly code = "ERR_VG_HTTP_REQUEST";
  override name = "HttpRequestError";
}

/** No connection could be made, so the request never left: refused, unreachable, unknown host. */
export class HttpConnectError extends HttpPoolError {
  readonly code = "ERR_VG_HTTP_CONNECT";
  override name = "HttpConnectError";
}

/** The certificate was not accepted, or the two sides share no TLS. Never retried. */
export class HttpTlsError extends HttpPoolError {
  readonly code = "ERR_VG_HTTP_TLS";
  override name = "HttpTlsError";
}

/** The connection broke after the request had begun to leave: the server may or may not have acted on it. */
export class HttpNetworkError extends HttpPoolError {
  readonly code = "ERR_VG_HTTP_NETWORK";
  override name = "HttpNetworkError";
}

/** The server's answer breaks HTTP: malformed, headers too large, or not in the encoding that it names. */
export class HttpProtocolError extends HttpPoolError {
  readonly code = "ERR_VG_HTTP_PROTOCOL";
  override name = "HttpProtocolError";
}

/** A time limit passed. `limit` names the option that set it. */
export class HttpTimeoutError extends HttpPoolError {
  readonly code = "ERR_VG_HTTP_TIMEOUT";
  override name = "HttpTimeoutError";
  readonly limit: HttpTimeLimit;

  constructor(message: string, context: HttpErrorContext & { limit: HttpTimeLimit }) {
    super(message, context);
    this.limit = context.limit;
  }
}

export type HttpTimeLimit =
  | "timeoutMs"
  | "attemptTimeoutMs"
  | "connectTimeoutMs"
  | "tlsHandshakeTimeoutMs"
  | "queueTimeoutMs"
  | "bodyGapTimeoutMs"
  | "bodyTimeoutMs";

/** As many requests wait for a connection to this origin as `maxQueue` allows. */
export class HttpQueueFullError extends HttpPoolError {
  readonly code = "ERR_VG_HTTP_QUEUE_FULL";
  override name = "HttpQueueFullError";
}

/** The body is larger than `maxResponseBytes`, on the wire or inflated. */
export class HttpBodyTooLargeError extends HttpPoolError {
  readonly code = "ERR_VG_HTTP_BODY_TOO_LARGE";
  override name = "HttpBodyTooLargeError";
}

/** Too many redirects, or one that leads where it may not. */
export class HttpRedirectError extends HttpPoolError {
  readonly code = "ERR_VG_HTTP_REDIRECT";
  override name = "HttpRedirectError";
}

/** The pool is closed, or was closed under the request. */
export class HttpPoolClosedError extends HttpPoolError {
  readonly code = "ERR_VG_HTTP_CLOSED";
  override name = "HttpPoolClosedError";
}

/** `json()` found no JSON. The message names status, content type and size, never the content. */
export class HttpJsonError extends HttpPoolError {
  readonly code = "ERR_VG_HTTP_JSON";
  override name = "HttpJsonError";
}
