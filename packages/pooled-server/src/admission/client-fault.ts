import { PooledServerError } from "../errors.ts";

/** What a client did that ended its request or its connection: the label in the metrics. */
export type FaultReason =
  | "malformed"
  | "headers_too_large"
  | "slow_head"
  | "slow_body"
  | "body_too_large"
  | "stalled"
  | "max_requests";

interface Answer {
  readonly status: 400 | 408 | 413 | 431;
  readonly code: "invalid_request" | "timeout" | "payload_too_large" | "headers_too_large";
  readonly message: string;
}

const ANSWERS: Record<Exclude<FaultReason, "stalled" | "max_requests">, Answer> = {
  malformed: { status: 400, code: "invalid_request", message: "The request is not valid HTTP." },
  headers_too_large: {
    status: 431,
    code: "headers_too_large",
    message: "The head of the request is larger than the server allows.",
  },
  slow_head: { status: 408, code: "timeout", message: "The head of the request did not come in time." },
  slow_body: { status: 408, code: "timeout", message: "The body of the request did not come in time." },
  body_too_large: {
    status: 413,
    code: "payload_too_large",
    message: "The body of the request is larger than the server allows. Send less at once.",
  },
};

/**
 * The reason of the signal of a request, and of the error of its body, when the client sends what cannot be taken: too
 * much, too slowly, or no HTTP. `status` and `statusCode` are the answer's, as frameworks expect them of an error.
 */
export class ClientFaultError extends PooledServerError {
  override readonly name = "ClientFaultError";
  readonly reason: FaultReason;
  readonly status: number;
  readonly statusCode: number;
  /** What the client is told. */
  readonly answer: Answer;

  constructor(reason: keyof typeof ANSWERS, options?: ErrorOptions) {
    const answer = ANSWERS[reason];
    super("ERR_VG_SERVER_CLIENT_FAULT", answer.message, options);
    this.reason = reason;
    this.status = answer.status;
    this.statusCode = answer.status;
    this.answer = answer;
  }
}

/** What node:http found wrong with a connection; `undefined` where only the network did. */
export function faultOf(code: string | undefined, bodyUnderWay: boolean): keyof typeof ANSWERS | undefined {
  // The connection was ended in the middle of a request: its client has left.
  if (code === "HPE_INVALID_EOF_STATE") return undefined;
  if (code === "HPE_HEADER_OVERFLOW") return "headers_too_large";
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return bodyUnderWay ? "slow_body" : "slow_head";
  return code?.startsWith("HPE_") === true ? "malformed" : undefined;
}

const PHRASES = {
  400: "Bad Request",
  408: "Request Timeout",
  413: "Payload Too Large",
  431: "Request Header Fields Too Large",
};

/** The answer as it goes over the wire, for a connection that has no request to answer. */
export function rawAnswer({ status, code, message }: Answer): string {
  const body = JSON.stringify({ error: { code, message, type: "api_error" } });
  return (
    `HTTP/1.1 ${status} ${PHRASES[status]}\r\nConnection: close\r\nContent-Type: application/json; charset=utf-8\r\n` +
    `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  );
}
