import type { IncomingMessage, ServerResponse } from "node:http";
import type { Adapter } from "./adapter.ts";
import { keepContext } from "./keep-context.ts";

/** A node:http request listener, sync or async. Connect apps and Express apps are such, too. */
export type NodeListener = (request: IncomingMessage, response: ServerResponse) => unknown;

export function adaptNodeListener(listener: NodeListener): Adapter {
  return {
    kind: "node:http",
    handle(request, response) {
      keepContext(request, response);
      return listener(request, response);
    },
  };
}
