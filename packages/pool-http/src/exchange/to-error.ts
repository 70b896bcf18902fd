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
} from "../errors.ts";
import type { Failure } from "./failure.ts";

const WHERE: Readonly<Record<HttpPhase, string>> = {
  queue: "while waiting for a connection",
  connect: "while connecting",
  tls: "in the TLS handshake",
  headers: "while waiting for the response",
  body: "while reading the body",
  backoff: "while waiting to retry",
};

/** The error that the caller sees; for the caller's own abort, the reason of its signal as it is. */
export function toError(
  failure: Failure,
  about: {
    pool: string;
    request: string;
    attempts: readonly HttpAttempt[];
    elapsedMs: number;
    replayable: boolean;
  },
): unknown {
  const { reason, phase, detail, cause } = failure;
  if (reason === "abort") return cause;
  const { pool, request, attempts } = about;
  const verb = reason === "timeout" ? "timed out" : "failed";
  const elapsed = `${Math.round(about.elapsedMs)} ms`;
  const once = about.replayable
    ? ""
    : " Its body can be read only once, so it was not sent again; give a function that makes the body.";
  const message = `${pool}: ${request} ${verb} ${WHERE[phase]} after ${elapsed}: ${detail}.${once}${summary(attempts)}`;
  const context = { pool, request, phase, attempts: [...attempts], cause };
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

const MAX_SHOWN = 8;

/** " Attempts: 503 after 12 ms, ECONNRESET after 4 ms." */
function summary(attempts: readonly HttpAttempt[]): string {
  if (attempts.length === 0) return "";
  const shown = attempts.slice(-MAX_SHOWN).map((attempt) => {
    const what = attempt.error_code ?? String(attempt.status);
    return `${what} after ${Math.round(attempt.time_ms)} ms`;
  });
  const hidden = attempts.length - shown.length;
  return ` Attempts: ${hidden > 0 ? `${hidden} earlier, ` : ""}${shown.join(", ")}.`;
}
