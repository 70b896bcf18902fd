import type { IncomingMessage } from "node:http";
import type { NodeRequestContext } from "./request-context.ts";

/** An answer that the server itself gives instead of the base server. */
export interface Problem {
  /** The HTTP status. */
  status: 400 | 429 | 500 | 501 | 503 | 504;
  code:
    | "invalid_request"
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

/** What an answer of the server's own keeps of the head that was begun. */
const KEPT: ReadonlySet<string> = new Set(["x-request-id", "connection"]);

/** Answers with a problem in the place of the handler. The head must not be out. */
export function answerWith(
  context: NodeRequestContext,
  { status, code, message, retryAfterSeconds }: Omit<Problem, "traceId">,
  render: RenderProblem,
): void {
  const { request, response } = context;
  const problem: Problem = { status, code, message, traceId: context.traceId };
  if (retryAfterSeconds !== undefined) problem.retryAfterSeconds = retryAfterSeconds;
  const body = bodyOf(problem, context, render);
  // A handler that threw may have set headers of the answer that it will not give.
  for (const name of response.getHeaderNames()) if (!KEPT.has(name)) response.removeHeader(name);
  response.writeHead(status, {
    "content-type": "application/json; charset=utf-8",
    "content-length": Buffer.byteLength(body),
    ...(retryAfterSeconds === undefined ? {} : { "retry-after": String(retryAfterSeconds) }),
  });
  response.end(body);
  // What is left of a body that nobody reads would stand in the way of the connection's next request.
  request.resume();
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
