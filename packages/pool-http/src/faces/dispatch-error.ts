import { errors } from "undici";
import { HttpPoolError, HttpTimeoutError } from "../errors.ts";
import { codeOf } from "../failure.ts";
import { CONNECTION_GONE } from "../transport/signals.ts";

/**
 * The error that undici's callers expect. Where a socket, the parser or the body's source failed, it is their own error,
 * with the code that retry policies test (ECONNRESET, UND_ERR_SOCKET, HPE_...). Where a limit of the pool passed, it is
 * undici's class for that, with the pool's error as its cause. What undici has no word for stays the pool's error, as
 * does whatever the caller gave as the reason of an abort.
 */
export function toDispatchError(error: unknown): Error {
  if (!(error instanceof HttpPoolError)) return error as Error;
  const { code, message } = error;
  if (error instanceof HttpTimeoutError) return timeoutError(error);
  switch (code) {
    case "ERR_VG_HTTP_CONNECT":
    case "ERR_VG_HTTP_NETWORK":
    case "ERR_VG_HTTP_TLS":
    case "ERR_VG_HTTP_PROTOCOL":
    case "ERR_VG_HTTP_REQUEST":
      if (error.cause instanceof Error && codeOf(error.cause) !== CONNECTION_GONE) return error.cause;
      return code === "ERR_VG_HTTP_REQUEST"
        ? caused(new errors.InvalidArgumentError(message), error)
        : caused(new errors.SocketError(message), error);
    case "ERR_VG_HTTP_CLOSED":
      return caused(new errors.ClientDestroyedError(message), error);
    default:
      return error;
  }
}

function timeoutError(error: HttpTimeoutError): Error {
  const { message } = error;
  switch (error.phase) {
    case "queue":
    case "connect":
    case "tls":
      return caused(new errors.ConnectTimeoutError(message), error);
    case "body":
      return caused(new errors.BodyTimeoutError(message), error);
    default:
      return caused(new errors.HeadersTimeoutError(message), error);
  }
}

function caused(error: Error, cause: HttpPoolError): Error {
  error.cause = cause;
  return error;
}
