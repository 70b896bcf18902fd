/** An error that the API answers with: a code of the service, its status, and words for the caller. */
export class ApiError extends Error {
  override readonly name = "ApiError";
  readonly code: ApiErrorCode;
  readonly status: number;
  /** The field of the request that is wrong, as a path: "messages[0].role". */
  readonly param: string | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(
    code: ApiErrorCode,
    message: string,
    options: { param?: string; retryAfterSeconds?: number; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.code = code;
    this.status = STATUS[code];
    this.param = options.param;
    this.retryAfterSeconds = options.retryAfterSeconds;
  }
}

const STATUS = {
  invalid_request: 400,
  unauthorized: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  timeout: 408,
  payload_too_large: 413,
  rate_limit_exceeded: 429,
  internal_error: 500,
  inference_error: 502,
  model_not_found: 503,
  service_unavailable: 503,
  not_cached: 504,
} as const;

export type ApiErrorCode = keyof typeof STATUS;

/** The two dialects of the API: the service's own, and OpenAI's plain one. */
export type Dialect = "v2" | "v1";

export function dialectOf(path: string): Dialect {
  return path === "/v1" || path.startsWith("/v1/") ? "v1" : "v2";
}

interface ErrorFields {
  code: string;
  message: string;
  traceId: string;
  /** Default: the dialect's for the code. */
  type?: string | undefined;
  param?: string | undefined;
  retryAfterSeconds?: number | undefined;
}

/** The error document in the path's dialect. */
export function errorDocument(
  dialect: Dialect,
  { code, message, traceId, type, param, retryAfterSeconds }: ErrorFields,
): unknown {
  if (dialect === "v1") {
    return { error: { message, type: type ?? OPENAI_TYPE[code] ?? "api_error", param: param ?? null, code } };
  }
  return {
    error: {
      code,
      message,
      type: type ?? "api_error",
      trace_id: traceId,
      ...(param === undefined ? {} : { param }),
      ...(retryAfterSeconds === undefined ? {} : { retry_after: retryAfterSeconds }),
    },
  };
}

const OPENAI_TYPE: Record<string, string> = {
  invalid_request: "invalid_request_error",
  payload_too_large: "invalid_request_error",
  model_not_found: "invalid_request_error",
  not_found: "invalid_request_error",
  method_not_allowed: "invalid_request_error",
  unauthorized: "authentication_error",
  forbidden: "permission_error",
  rate_limit_exceeded: "rate_limit_error",
};

/** OpenAI's status for an unknown model is 404; the service's own is 503. */
export function statusOf(error: ApiError, dialect: Dialect): number {
  return dialect === "v1" && error.code === "model_not_found" ? 404 : error.status;
}
