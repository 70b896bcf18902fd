/** Why a request was not admitted: the label in the metrics. */
export type RefusalReason =
  | "rate_limit"
  | "queue_full"
  | "queue_timeout"
  | "event_loop"
  | "pipelining"
  | "too_many_upgrades"
  | "no_host"
  | "expectation"
  | "too_many_headers"
  | "body_too_large";

/** The answer that a request gets in the place of the handler's. */
export interface Refusal {
  readonly reason: RefusalReason;
  readonly status: 400 | 413 | 417 | 429 | 431 | 503;
  readonly code:
    | "invalid_request"
    | "payload_too_large"
    | "rate_limit_exceeded"
    | "headers_too_large"
    | "service_unavailable";
  readonly message: string;
  /** Whole seconds; absent where coming back is of no use. */
  readonly retryAfterSeconds?: number;
  /** Whether the connection is to end with the answer. */
  readonly close: boolean;
}

/** @param waitMs until the client has a token again */
export function overRate(waitMs: number): Refusal {
  const retryAfterSeconds = Math.max(1, Math.ceil(waitMs / 1000));
  return {
    reason: "rate_limit",
    status: 429,
    code: "rate_limit_exceeded",
    message: `Too many requests from this client; try again in ${retryAfterSeconds} s.`,
    retryAfterSeconds,
    close: false,
  };
}

export function overloaded(reason: "queue_full" | "queue_timeout" | "event_loop", retryAfterSeconds: number): Refusal {
  return {
    reason,
    status: 503,
    code: "service_unavailable",
    message: `The service has more requests than it can handle; try again in ${retryAfterSeconds} s.`,
    retryAfterSeconds,
    close: false,
  };
}

export function tooManyPipelined(limit: number): Refusal {
  return {
    reason: "pipelining",
    status: 503,
    code: "service_unavailable",
    message: `This connection has more than ${limit} requests under way; wait for their answers, or open another.`,
    retryAfterSeconds: 1,
    close: true,
  };
}

export function tooManyUpgrades(limit: number): Refusal {
  return {
    reason: "too_many_upgrades",
    status: 503,
    code: "service_unavailable",
    message: `The service has ${limit} upgraded connections open, which is its limit; try again later.`,
    retryAfterSeconds: 1,
    close: true,
  };
}

export function noHost(): Refusal {
  return {
    reason: "no_host",
    status: 400,
    code: "invalid_request",
    message: "The request has no Host header, which HTTP/1.1 requires.",
    close: true,
  };
}

export function unknownExpectation(): Refusal {
  return {
    reason: "expectation",
    status: 417,
    code: "invalid_request",
    message: "The only expectation that is met is 100-continue.",
    close: true,
  };
}

export function tooManyHeaders(count: number, limit: number): Refusal {
  return {
    reason: "too_many_headers",
    status: 431,
    code: "headers_too_large",
    message: `The request has ${count} header fields or more; ${limit} are allowed.`,
    close: true,
  };
}

export function bodyTooLarge(limit: number): Refusal {
  return {
    reason: "body_too_large",
    status: 413,
    code: "payload_too_large",
    message: `The body of the request is larger than ${limit} bytes. Send less at once.`,
    close: true,
  };
}
