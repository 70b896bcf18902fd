export { HttpPool } from "./http-pool.ts";
export type { HttpCloseReport, HttpHealth } from "./http-pool.ts";
export { HttpResponse } from "./response.ts";
export type { HttpTimings } from "./response.ts";
export { httpPoolOptionsFromEnv } from "./environment.ts";
export type { Clock, HttpPoolOptions, HttpRetryBudget, HttpRetryOn, HttpVersionMode, Logger } from "./options.ts";
export type { HttpTlsOptions } from "./tls-options.ts";
export type { HttpPreconnectOptions } from "./preconnect.ts";
export type { HttpRequest, HttpRequestOptions } from "./exchange/request.ts";
export type { HttpBody, HttpBodyValue } from "./exchange/request-body.ts";
export type { HttpFetch, HttpFetchInit, HttpFetchOptions } from "./faces/fetch-request.ts";
export type { HttpHeadersInit } from "./exchange/headers.ts";
export type { HttpHistogram, HttpOriginStats, HttpPoolHistograms, HttpPoolStats } from "./stats/document.ts";
export type {
  HttpAttemptMessage,
  HttpConnectMessage,
  HttpLeakMessage,
  HttpQueueMessage,
  HttpRemoveMessage,
  HttpRequestEndMessage,
  HttpRequestErrorMessage,
  HttpRequestStartMessage,
  HttpRetryMessage,
} from "./diagnostics-messages.ts";
export {
  HttpBodyTooLargeError,
  HttpConnectError,
  HttpJsonError,
  HttpNetworkError,
  HttpPoolClosedError,
  HttpPoolConfigError,
  HttpPoolError,
  HttpProtocolError,
  HttpQueueFullError,
  HttpRedirectError,
  HttpRequestError,
  HttpTimeoutError,
  HttpTlsError,
} from "./errors.ts";
export type {
  HttpAttempt,
  HttpErrorContext,
  HttpNotRetried,
  HttpPhase,
  HttpPhaseTimes,
  HttpTimeLimit,
} from "./errors.ts";
