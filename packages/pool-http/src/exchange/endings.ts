/** Why a request as a whole is over, where that is not its server's doing. */
import type { HttpPhase } from "../errors.ts";
import type { Failure } from "../failure.ts";
import { BytesGoneError } from "./request-body.ts";

/** Where a request is at that moment. */
export interface Standing {
  readonly phase: HttpPhase;
  /** Whether any part of its present attempt has left. */
  readonly sent: boolean;
}

export function poolClosed({ phase, sent }: Standing, detail: string): Failure {
  return { reason: "closed", phase, code: "ERR_VG_HTTP_CLOSED", detail, sent };
}

/** `by` whom. The caller's promise rejects with `reason`. */
export function aborted({ phase, sent }: Standing, by: string, reason: unknown): Failure {
  return { reason: "abort", phase, code: "ABORT_ERR", detail: by, cause: reason, sent };
}

/** There is none to send: the function that makes it threw, or its bytes are gone. */
export function bodyNotMade(standing: Standing, error: unknown): Failure {
  const gone = error instanceof BytesGoneError;
  return ofRequest(standing, gone ? error.message : "the function that makes the body failed (see cause)", error);
}

/** A function that the pool was given threw, such as a clock; or ours did. */
export function unexpected(standing: Standing, error: unknown): Failure {
  return ofRequest(standing, "an unexpected error was thrown (see cause)", error);
}

function ofRequest({ phase, sent }: Standing, detail: string, cause: unknown): Failure {
  return { reason: "request", phase, code: "ERR_VG_HTTP_REQUEST", detail, cause, sent };
}
