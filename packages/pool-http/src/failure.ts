import type { HttpPhase, HttpTimeLimit } from "./errors.ts";

/**
 * Why an attempt failed, as a value: most failures are retried and never become an error, so nothing pays for a stack
 * trace before somebody will see it.
 */
export interface Failure {
  readonly reason: FailureReason;
  readonly phase: HttpPhase;
  /** Of the operating system, undici or zlib; the public code of the error where there is none. */
  readonly code: string;
  /** What happened and what to do, as a part of the message. */
  readonly detail: string;
  readonly cause?: unknown;
  /** Whether any part of the request may have reached the server. */
  readonly sent: boolean;
  /** For `timeout`. */
  readonly limit?: HttpTimeLimit;
}

export type FailureReason =
  /** No connection was made. */
  | "connect"
  /** Certificate or protocol: another try ends the same. */
  | "tls"
  /** The proxy does not let it through: another try ends the same. */
  | "proxy"
  /** A reused connection turned out to be dead before a byte of the response came. */
  | "stale"
  /** The connection broke. */
  | "network"
  | "protocol"
  | "timeout"
  | "queue_full"
  | "too_large"
  /** The caller's arguments or body source. */
  | "request"
  | "redirect"
  | "closed"
  /** The caller's signal; its reason is `cause`. */
  | "abort";

/** What a thrown value calls itself. */
export function codeOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null | undefined)?.code;
  return typeof code === "string" ? code : undefined;
}

export function tooLarge(size: number, limit: number): Failure {
  return {
    reason: "too_large",
    phase: "body",
    code: "ERR_VG_HTTP_BODY_TOO_LARGE",
    detail: `the body has ${size} bytes or more, maxResponseBytes is ${limit}. Raise it, or read with stream: true`,
    sent: true,
  };
}

export function undecodable(error: unknown): Failure {
  const code = codeOf(error) ?? "ERR_VG_HTTP_PROTOCOL";
  return {
    reason: "protocol",
    phase: "body",
    code,
    detail: `the body is not in the encoding that content-encoding names (${code})`,
    cause: error,
    sent: true,
  };
}

/** One of the limits of a request passed; `counts` are those of its origin. */
export function timedOut(
  limit: "timeoutMs" | "attemptTimeoutMs" | "queueTimeoutMs",
  limitMs: number,
  phase: HttpPhase,
  sent: boolean,
  counts: { open: number; idle: number; queued: number },
): Failure {
  const numbers = `connections to this origin: ${counts.open} open, ${counts.idle} idle; ${counts.queued} requests wait`;
  const advice =
    phase === "queue" ? "Raise maxConnsPerHost, send less at once, or raise" : "Check the server, or raise";
  const detail = `${limit} (${limitMs} ms) passed; ${numbers}. ${advice} ${limit}`;
  return { reason: "timeout", phase, code: "ERR_VG_HTTP_TIMEOUT", limit, detail, sent };
}
