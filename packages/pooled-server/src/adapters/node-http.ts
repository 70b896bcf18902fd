import type { IncomingMessage, ServerResponse } from "node:http";
import { BaseServerError } from "../errors.ts";
import type { Adapter } from "./adapter.ts";
import { isResponse } from "./fetch-response.ts";
import { keepContext } from "./keep-context.ts";

/** A node:http request listener, sync or async. Connect apps and Express apps are such, too. */
export type NodeListener = (request: IncomingMessage, response: ServerResponse) => unknown;

export function adaptNodeListener(given: NodeListener): Adapter {
  const listener = given.length === 1 ? refusingResponses(given) : given;
  return {
    kind: "node:http",
    handle(request, response) {
      keepContext(request, response);
      return listener(request, response);
    },
  };
}

/**
 * For a listener that takes the request alone, as `fetch` of a Worker or of a Hono app does: what it returns goes nowhere,
 * and its clients would wait for ever.
 */
function refusingResponses(listener: NodeListener): NodeListener {
  return async (request, response) => {
    if (!isResponse(await listener(request, response))) return;
    throw new BaseServerError(
      "The base server is a function that returned a Response, which no listener (request, response) does. Pass the app itself, or an object with it: { fetch: handler }",
    );
  };
}
