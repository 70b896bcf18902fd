import { ClientFaultError } from "../../admission/client-fault.ts";
import { LifecycleError, RequestTimeoutError } from "../../errors.ts";
import { InferenceError } from "../inference-error.ts";
import { isObject } from "../json.ts";
import { secondsUntil } from "../upstream-pieces.ts";

const UPSTREAM = "ERR_VG_SERVER_INFERENCE_UPSTREAM";

/** The `type` of the error that ends what a shutdown cannot wait for. */
export const SHUTDOWN = "server_shutdown";

/** Whatever a call failed with, as the error that its client is told. The cause stays, for the log; the client does not see it. */
export function failureOf(error: unknown): InferenceError {
  if (error instanceof InferenceError) return error;
  if (error instanceof LifecycleError) {
    return new InferenceError(error.code, "The service is shutting down; try again, another instance will answer.", {
      status: 503,
      type: SHUTDOWN,
      reason: "service_unavailable",
      retryAfterSeconds: 1,
      cause: error,
    });
  }
  if (error instanceof RequestTimeoutError) {
    const message = "The request took longer than the server allows; it was given up.";
    return new InferenceError(error.code, message, { status: 504, reason: "timeout", cause: error });
  }
  if (error instanceof ClientFaultError) {
    const { code, message, status, answer } = error;
    return new InferenceError(code, message, { status, reason: answer.code, cause: error });
  }
  return fromHttpPool(error) ?? fromStatus(error) ?? fromFetch(error) ?? internal(error);
}

/**
 * Why a signal has ended the request of a client who is still there, and is owed an answer; undefined where nothing has
 * ended it, or it is the client who has.
 */
export function toldToEnd(signal: AbortSignal | undefined): Error | undefined {
  if (signal?.aborted !== true) return undefined;
  const reason: unknown = signal.reason;
  const isTold =
    reason instanceof LifecycleError || reason instanceof RequestTimeoutError || reason instanceof ClientFaultError;
  return isTold ? reason : undefined;
}

function fromHttpPool(cause: unknown): InferenceError | undefined {
  const { code, phase } = fieldsOf(cause);
  if (typeof code !== "string" || !code.startsWith("ERR_VG_HTTP")) return undefined;
  if (code === "ERR_VG_HTTP_QUEUE_FULL" || (code === "ERR_VG_HTTP_TIMEOUT" && phase === "queue")) {
    return new InferenceError(UPSTREAM, "All connections to the model server are in use; try again later.", {
      status: 503,
      reason: "upstream_busy",
      retryAfterSeconds: 1,
      cause,
    });
  }
  if (code === "ERR_VG_HTTP_TIMEOUT") return timeout(cause);
  return phase === "body" ? brokenOff(cause) : unreachable(cause);
}

/** Errors that carry a status: those of OpenAI's SDK, and of HTTP frameworks. */
function fromStatus(cause: unknown): InferenceError | undefined {
  const { status, statusCode, error, message, headers } = fieldsOf(cause);
  const given = typeof status === "number" ? status : statusCode;
  if (typeof given !== "number" || !Number.isInteger(given) || given < 400 || given > 599) return undefined;
  const said = fieldsOf(error);
  const words = typeof said["message"] === "string" ? said["message"] : undefined;
  const seconds = secondsUntil(headers instanceof Headers ? headers.get("retry-after") : undefined);
  const { type, code, param } = said;
  return new InferenceError(
    UPSTREAM,
    // What a server's own failure says of itself is for the log, unless it was said in OpenAI's form.
    words ?? (given < 500 && typeof message === "string" ? message : `The call failed with status ${given}.`),
    {
      status: given,
      reason: typeof code === "string" ? code : "upstream_error",
      ...(typeof type === "string" ? { type } : {}),
      ...(typeof param === "string" ? { param } : {}),
      ...(seconds > 0 ? { retryAfterSeconds: Math.ceil(seconds) } : {}),
      cause,
    },
  );
}

function fromFetch(cause: unknown): InferenceError | undefined {
  const { name, message } = fieldsOf(cause);
  if (name === "TimeoutError") return timeout(cause);
  return cause instanceof TypeError && message === "fetch failed" ? unreachable(cause) : undefined;
}

function timeout(cause: unknown): InferenceError {
  const message = "The model server did not answer in time.";
  return new InferenceError(UPSTREAM, message, { status: 504, reason: "upstream_timeout", cause });
}

function unreachable(cause: unknown): InferenceError {
  const message = "The model server cannot be reached.";
  return new InferenceError(UPSTREAM, message, { status: 502, reason: "upstream_unreachable", cause });
}

function brokenOff(cause: unknown): InferenceError {
  const message = "The model server's connection broke before its answer was complete.";
  return new InferenceError(UPSTREAM, message, { status: 502, reason: "upstream_error", cause });
}

function internal(cause: unknown): InferenceError {
  const message = "The server failed to handle this request.";
  return new InferenceError("ERR_VG_SERVER_INFERENCE", message, { status: 500, reason: "internal_error", cause });
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return isObject(value) ? value : {};
}
