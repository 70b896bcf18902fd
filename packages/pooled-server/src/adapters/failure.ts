import type { IncomingMessage } from "node:http";
import type { RequestContext } from "../request/request-context.ts";
import { pathOf } from "../request/path.ts";

/** One line for an error that the base server answers by itself, so that its trace id leads to the reason here too. */
export function logFailure(context: RequestContext, request: IncomingMessage, error: unknown): void {
  context.logger.error("The request's handler failed", error, { method: request.method, path: pathOf(request) });
}
