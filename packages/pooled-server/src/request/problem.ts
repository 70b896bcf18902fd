/** An answer that the server itself gives instead of the base server. */
export interface Problem {
  /** The HTTP status. */
  status: 400 | 429 | 500 | 501 | 503;
  code: "invalid_request" | "rate_limit_exceeded" | "internal_error" | "not_implemented" | "service_unavailable";
  message: string;
  /** Whole seconds until it is worth coming back; also sent as `Retry-After`. */
  retryAfterSeconds?: number;
  traceId: string;
}

/** The error document of the service's API. */
export function renderProblem({ code, message, traceId, retryAfterSeconds }: Problem): unknown {
  return {
    error: {
      code,
      message,
      type: "api_error",
      trace_id: traceId,
      ...(retryAfterSeconds === undefined ? {} : { retry_after: retryAfterSeconds }),
    },
  };
}
