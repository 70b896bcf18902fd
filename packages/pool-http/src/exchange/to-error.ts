import { describeAttempts, describeTimes } from "./breakdown.ts";
import {
  HttpBodyTooLargeError,
  HttpConnectError,
  HttpNetworkError,
  HttpPoolClosedError,
  HttpProtocolError,
  HttpQueueFullError,
  HttpRedirectError,
  HttpRequestError,
  HttpTimeoutError,
  HttpTlsError,
  type HttpAttempt,
  type HttpPhase,
  type HttpPhaseTimes,
} from "../errors.ts";
import type { Failure, FailureReason } from "../failure.ts";

const WHERE: Readonly<Record<HttpPhase, string>> = {
  queue: "while waiting for a connection",
  connect: "while connecting",
  tls: "in the TLS handshake",
  headers: "while waiting for the response",
  body: "while reading the body",
  backoff: "while waiting to retry",
};

/** What another try may not meet. */
const TRANSIENT: ReadonlySet<FailureReason> = new Set(["connect", "stale", "network", "timeout", "queue_full"]);

/** What an error needs of the request. */
export interface AboutFailedRequest {
  readonly pool: string;
  readonly request: string;
  readonly attempts: readonly HttpAttempt[];
  readonly timings: HttpPhaseTimes;
  readonly sent: boolean;
  /** Whether it does no harm to be acted on twice. */
  readonly repeatable: boolean;
  /** Why there was no further attempt, as a sentence; "" where there is nothing to say. */
  readonly ended: string;
}

/** The error that the caller sees; for the caller's own abort, the reason of its signal as it is. */
export function toError(failure: Failure, about: AboutFailedRequest): unknown {
  const { reason, phase, detail, cause } = failure;
  if (reason === "abort") return cause;
  const { pool, request, attempts, timings } = about;
  const verb = reason === "timeout" ? "timed out" : "failed";
  const elapsed = `${Math.round(timings.total_ms)} ms`;
  const message = `${pool}: ${request} ${verb} ${WHERE[phase]} after ${elapsed}: ${detail}.${about.ended}${describeAttempts(attempts)}${describeTimes(attempts, timings)}`;
  const sent = about.sent || failure.sent;
  const retryable = TRANSIENT.has(reason) && (!sent || about.repeatable);
  const context = { pool, request, phase, attempts: [...attempts], timings, sent, retryable, cause };
  switch (reason) {
    case "timeout":
      return new HttpTimeoutError(message, { ...context, limit: failure.limit ?? "timeoutMs" });
    case "connect":
    case "proxy":
      return new HttpConnectError(message, context);
    case "tls":
      return new HttpTlsError(message, context);
    case "stale":
    case "network":
      return new HttpNetworkError(message, context);
    case "protocol":
      return new HttpProtocolError(message, context);
    case "queue_full":
      return new HttpQueueFullError(message, context);
    case "too_large":
      return new HttpBodyTooLargeError(message, context);
    case "request":
      return new HttpRequestError(message, context);
    case "redirect":
      return new HttpRedirectError(message, context);
    case "closed":
      return new HttpPoolClosedError(message, context);
    default:
      return reason satisfies never;
  }
}
