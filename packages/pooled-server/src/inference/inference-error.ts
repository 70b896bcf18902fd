import { PooledServerError } from "../errors.ts";
import type { JsonObject } from "./json.ts";

interface ErrorFields {
  /** The HTTP status of the answer. */
  status: number;
  /** OpenAI's `type`; by the status where it is left out. */
  type?: string | undefined;
  /** OpenAI's `code`. */
  reason: string;
  /** The field of the request that is wrong, as a path. */
  param?: string | undefined;
  retryAfterSeconds?: number | undefined;
  /** Fields that an upstream's error had beside these; they go to the client. */
  more?: JsonObject | undefined;
  cause?: unknown;
}

/** Something that an inference is answered with instead of a completion or an embedding. */
export class InferenceError extends PooledServerError {
  override readonly name: string = "InferenceError";
  /** The HTTP status of the answer. */
  readonly status: number;
  /** OpenAI's `type`, such as "invalid_request_error". */
  readonly type: string;
  /** OpenAI's `code`, such as "invalid_request"; `code` is this package's own. */
  readonly reason: string;
  /** The field of the request that is wrong, as a path. */
  readonly param: string | undefined;
  readonly retryAfterSeconds: number | undefined;
  readonly #more: JsonObject | undefined;

  constructor(code: string, message: string, fields: ErrorFields) {
    super(code, message, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.status = fields.status;
    this.type = fields.type ?? typeOf(fields.status);
    this.reason = fields.reason;
    this.param = fields.param;
    this.retryAfterSeconds = fields.retryAfterSeconds;
    this.#more = fields.more;
  }

  /** The error as OpenAI's API has it. */
  toDocument(): JsonObject {
    const { message, type, param = null, reason } = this;
    return { error: { ...this.#more, message, type, param, code: reason } };
  }
}

/** The request cannot be what it is: no JSON, too large, a bad directive. The message names the field and the rule. */
export class InferenceRequestError extends InferenceError {
  override readonly name = "InferenceRequestError";

  constructor(
    message: string,
    {
      param,
      status = 400,
      reason = "invalid_request",
    }: { param?: string; status?: 400 | 405 | 413; reason?: string } = {},
  ) {
    super("ERR_VG_SERVER_INFERENCE_REQUEST", message, { status, reason, param });
  }
}

/** `only-if-cached` was asked for, and nothing that may be served is stored. */
export class InferenceNotCachedError extends InferenceError {
  override readonly name = "InferenceNotCachedError";

  constructor() {
    super(
      "ERR_VG_SERVER_INFERENCE_NOT_CACHED",
      "The request says only-if-cached, and no stored answer may be served for it. Leave the directive out to have the model asked.",
      { status: 504, reason: "not_cached" },
    );
  }
}

/** So many requests wait for the same call that no more may join. */
export class InferenceCrowdedError extends InferenceError {
  override readonly name = "InferenceCrowdedError";

  constructor(waiters: number) {
    super(
      "ERR_VG_SERVER_INFERENCE_CROWDED",
      `${waiters} identical requests wait for one answer already, which is the limit (inference.maxWaiters). Try again in a second, when the answer may be stored.`,
      { status: 503, reason: "too_many_waiters", retryAfterSeconds: 1 },
    );
  }
}

/** The upstream refused, failed, or sent what is no whole answer. Nothing of it is stored. */
export class InferenceUpstreamError extends InferenceError {
  override readonly name = "InferenceUpstreamError";
  /** The status that the upstream answered with, where it answered. */
  readonly upstreamStatus: number | undefined;

  constructor(message: string, fields: Partial<ErrorFields> & { upstreamStatus?: number | undefined } = {}) {
    super("ERR_VG_SERVER_INFERENCE_UPSTREAM", message, { status: 502, reason: "upstream_error", ...fields });
    this.upstreamStatus = fields.upstreamStatus;
  }
}

function typeOf(status: number): string {
  if (status === 401) return "authentication_error";
  if (status === 403) return "permission_error";
  if (status === 429) return "rate_limit_error";
  return status < 500 ? "invalid_request_error" : "api_error";
}
