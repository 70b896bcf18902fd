/** A refusal or failure as clients see it: an HTTP status and OpenAI's error body. */
export class ApiError extends Error {
  override name = "ApiError";
  readonly status: number;
  readonly type: string;
  /** The field of the request that is wrong, where it is one. */
  readonly param: string | null;
  readonly code: string | null;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    message: string,
    { type, param = null, code = null, headers = {} }: ApiErrorDetails = {},
  ) {
    super(message);
    this.status = status;
    this.type = type ?? (status >= 500 ? "server_error" : "invalid_request_error");
    this.param = param;
    this.code = code;
    this.headers = headers;
  }

  toJSON(): object {
    return { error: { message: this.message, type: this.type, param: this.param, code: this.code } };
  }
}

export interface ApiErrorDetails {
  type?: string;
  param?: string | null;
  code?: string | null;
  headers?: Readonly<Record<string, string>>;
}

/** A field that is missing, of the wrong type or out of range. */
export function invalidField(param: string, message: string, code: string | null = null): ApiError {
  return new ApiError(400, message, { param, code });
}
