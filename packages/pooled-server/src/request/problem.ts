import { STATUS_CODES, type IncomingMessage, type ServerResponse } from "node:http";
import { ClientFaultError } from "../admission/client-fault.ts";
import { RequestTimeoutError } from "../errors.ts";
import type { NodeRequestContext } from "./request-context.ts";

/** An answer that the server itself gives instead of the base server. */
export interface Problem {
  /** The HTTP status. */
  status: 400 | 408 | 413 | 417 | 429 | 431 | 500 | 501 | 503 | 504;
  code:
    | "invalid_request"
    | "payload_too_large"
    | "headers_too_large"
    | "rate_limit_exceeded"
    | "internal_error"
    | "not_implemented"
    | "service_unavailable"
    | "timeout";
  message: string;
  /** Whole seconds until it is worth coming back; also sent as `Retry-After`. */
  retryAfterSeconds?: number;
  traceId: string;
}

export const SHUTTING_DOWN: Omit<Problem, "traceId"> = {
  status: 503,
  code: "service_unavailable",
  message: "The service is shutting down; try again, another instance will answer.",
  retryAfterSeconds: 1,
};
export const TIMED_OUT: Omit<Problem, "traceId"> = {
  status: 504,
  code: "timeout",
  message: "The request took longer than the server allows; it was given up.",
};
export const FAILED: Omit<Problem, "traceId"> = {
  status: 500,
  code: "internal_error",
  message: "The server failed to handle this request; the log has the reason under this trace_id.",
};

/** What a request is answered with whose handler gave up when it was told to. */
export function problemOf(abortReason: Error): Omit<Problem, "traceId"> {
  if (abortReason instanceof ClientFaultError) return abortReason.answer;
  return abortReason instanceof RequestTimeoutError ? TIMED_OUT : SHUTTING_DOWN;
}

/** What makes the body of such an answer. */
export type RenderProblem = (problem: Problem, request: IncomingMessage) => unknown;

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

/** How long a client that is refused may go on sending. */
const LINGER_MS = 500;

/** What an answer of the server's own keeps of the head that was begun. */
const KEPT: ReadonlySet<string> = new Set(["x-request-id", "connection"]);

/**
 * Answers with a problem in the place of the handler. The head must not be out.
 *
 * @param close whether the connection is to end with it, if it is not anyway
 */
export function answerWith(
  context: NodeRequestContext,
  { status, code, message, retryAfterSeconds }: Omit<Problem, "traceId">,
  render: RenderProblem,
  close: boolean,
): void {
  const { request, response } = context;
  const problem: Problem = { status, code, message, traceId: context.traceId };
  if (retryAfterSeconds !== undefined) problem.retryAfterSeconds = retryAfterSeconds;
  const body = bodyOf(problem, context, render);
  context.isAnswered = true;
  if (close) response.setHeader("connection", "close");
  // A handler that threw may have set headers of the answer that it will not give.
  for (const name of response.getHeaderNames()) if (!KEPT.has(name)) response.removeHeader(name);
  // Nor is the reason phrase that of the status which it meant to give.
  response.writeHead(status, STATUS_CODES[status], {
    "content-type": "application/json; charset=utf-8",
    "content-length": Buffer.byteLength(body),
    ...(retryAfterSeconds === undefined ? {} : { "retry-after": String(retryAfterSeconds) }),
  });
  if (!request.complete && response.getHeader("connection") === "close") {
    // Whatever else its client does wrong until then: this is what it got.
    context.status ??= status;
    endLater(request, response, body);
    return;
  }
  response.end(body);
  // What is left of a body that nobody reads would stand in the way of the connection's next request.
  request.resume();
}

/**
 * For an answer that ends its connection while the client may still be sending: the answer goes out as a whole (it says its
 * length), and the connection is closed a moment later, or when the client has done. Closed at once, the system would
 * reset it, and take the answer from a client that has not read it yet.
 */
function endLater(request: IncomingMessage, response: ServerResponse, body: string): void {
  response.write(body);
  request.resume();
  const end = (): void => {
    clearTimeout(timer);
    response.end();
  };
  const timer = setTimeout(end, LINGER_MS).unref();
  request.once("end", end).once("close", end);
}

/** The user's document, or the built-in one where theirs cannot be had: an answer is owed in any case. */
function bodyOf(problem: Problem, context: NodeRequestContext, render: RenderProblem): string {
  try {
    const body = JSON.stringify(render(problem, context.request));
    if (typeof body === "string") return body;
  } catch (error) {
    context.logger.error("renderProblem failed; the built-in document is sent", error);
  }
  return JSON.stringify(renderProblem(problem));
}
