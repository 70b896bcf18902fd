import { fullJitterDelay } from "@vg/internal";
import type { HttpNotRetried } from "../errors.ts";
import type { HttpRetryOn } from "../options.ts";
import type { Failure } from "../failure.ts";
import { headerText } from "./headers.ts";

/** Why a request was sent again; the keys of `retries_by_cause`. */
export type RetryCause = "rejected" | "status" | "connect" | "network" | "timeout";

/** What the decision depends on, and nothing else. */
export interface RetryRequest {
  readonly method: string;
  /** Has an Idempotency-Key. */
  readonly keyed: boolean;
  readonly retryOn: HttpRetryOn;
  readonly body: {
    /** It can be sent (again): none, in memory, from a factory, or a stream that nobody has read from. */
    readonly replayable: boolean;
  };
}

const IDEMPOTENT = new Set(["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"]);
const RETRYABLE_STATUS = new Set([408, 425, 429, 500, 502, 503, 504]);

export function isRetryableStatus(status: number): boolean {
  return RETRYABLE_STATUS.has(status);
}

/** A final response with such a status counts as an error in the statistics. */
export function isErrorStatus(status: number): boolean {
  return status >= 500 || RETRYABLE_STATUS.has(status);
}

/** RFC 9110, section 9.2.2; the Idempotency-Key is an IETF draft that payment and model APIs follow. */
export function isRepeatable(request: RetryRequest): boolean {
  return IDEMPOTENT.has(request.method) || request.keyed;
}

export function retryCauseOfStatus(request: RetryRequest, status: number): RetryCause | undefined {
  if (!request.body.replayable || !RETRYABLE_STATUS.has(status)) return undefined;
  const rejected = status === 429 || status === 503;
  if (!isRepeatable(request) && !(rejected && request.retryOn === "rejected")) return undefined;
  return rejected ? "rejected" : "status";
}

export function retryCauseOfFailure(request: RetryRequest, failure: Failure): RetryCause | undefined {
  if (!request.body.replayable) return undefined;
  // The deadline is the caller's patience, and a full queue gets no shorter by asking again.
  if (failure.limit === "timeoutMs" || failure.limit === "queueTimeoutMs") return undefined;
  switch (failure.reason) {
    case "connect":
      return "connect";
    case "stale":
    case "network":
      return !failure.sent || isRepeatable(request) ? "network" : undefined;
    case "timeout":
      return !failure.sent || isRepeatable(request) ? "timeout" : undefined;
    default:
      return undefined;
  }
}

/** What forbids a repetition that the outcome would otherwise call for: the method before the body. */
export function forbiddenBy(request: RetryRequest, outcome: number | Failure): HttpNotRetried | undefined {
  // Most that come here are no failures at all.
  if (typeof outcome === "number" && !RETRYABLE_STATUS.has(outcome)) return undefined;
  const again = { ...request, body: REPLAYABLE };
  if (wouldRetry(again, outcome) !== undefined) return request.body.replayable ? undefined : "one_shot_body";
  return wouldRetry({ ...again, keyed: true }, outcome) === undefined ? undefined : "not_idempotent";
}

const REPLAYABLE = { replayable: true };

function wouldRetry(request: RetryRequest, outcome: number | Failure): RetryCause | undefined {
  return typeof outcome === "number" ? retryCauseOfStatus(request, outcome) : retryCauseOfFailure(request, outcome);
}

/**
 * The wait before retry number `retry` (from 0): full jitter below `min(capMs, baseMs * 2^retry)`, and after
 * `retryAfterMs` where the server named a time. The jitter comes on top, so that the clients it was told to do not
 * all return at the same moment.
 */
export function retryDelayMs(
  retry: number,
  options: { baseMs: number; capMs: number; random: () => number; retryAfterMs?: number | undefined },
): number {
  const { baseMs, capMs, random } = options;
  return (options.retryAfterMs ?? 0) + fullJitterDelay(retry, { baseMs, capMs, random });
}

/**
 * `Retry-After` (RFC 9110, section 10.2.3) in milliseconds: whole seconds or an HTTP date. A date in the past is 0;
 * garbage is `undefined`. Of several, with commas between them, it is the largest.
 */
export function parseRetryAfter(value: string | undefined, wallClockMs: number): number | undefined {
  if (value === undefined) return undefined;
  return largest(value.split(BETWEEN).map((text) => parseOne(text.trim(), wallClockMs)));
}

/** A comma behind which a number stands alone or a weekday begins; the one within a date is none of these. */
const BETWEEN = /,\s*(?=\d+\s*(?:,|$)|[A-Za-z]{3,9},? )/;

function parseOne(text: string, wallClockMs: number): number | undefined {
  if (/^\d+$/.test(text)) return Number(text) * 1000;
  // Date.parse alone would read "-1" and "1.5" as years and months.
  if (!/^[A-Za-z]{3,9},? /.test(text)) return undefined;
  // HTTP dates are in GMT; the oldest of the three forms does not say so, and would be taken for local time.
  const date = Date.parse(/(?:[A-Z]{1,4}|[+-]\d{4})$/i.test(text) ? text : `${text} GMT`);
  return Number.isNaN(date) ? undefined : Math.max(0, date - wallClockMs);
}

function largest(waits: readonly (number | undefined)[]): number | undefined {
  const known = waits.filter((wait) => wait !== undefined);
  return known.length === 0 ? undefined : Math.max(...known);
}

/**
 * The wait that a response's headers ask for, in milliseconds. `retry-after-ms`, which OpenAI's API sends beside
 * `Retry-After`, says the same more exactly.
 */
export function retryAfterOf(
  headers: Readonly<Record<string, string | readonly string[]>>,
  wallClockMs: number,
): number | undefined {
  const exact = headerText(headers["retry-after-ms"])?.split(",") ?? [];
  const waits = exact.map((text) => (/^\s*\d+(?:\.\d+)?\s*$/.test(text) ? Number(text) : undefined));
  return largest(waits) ?? parseRetryAfter(headerText(headers["retry-after"]), wallClockMs);
}
