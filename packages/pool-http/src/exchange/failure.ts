import type { HttpPhase, HttpTimeLimit } from "../errors.ts";

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
