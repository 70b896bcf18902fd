import type { IncomingMessage, ServerResponse } from "node:http";
import { PooledServerConfigError } from "../errors.ts";

/** A base server: a node:http request listener, which an Express app also is. It may be async. */
export type BaseServer = (request: IncomingMessage, response: ServerResponse) => unknown;

/** What every kind of base server is turned into. Rejects when the base server throws. */
export type Handler = (request: IncomingMessage, response: ServerResponse) => Promise<void>;

export function adaptBase(base: BaseServer): Handler {
  if (typeof base !== "function") {
    throw new PooledServerConfigError(
      `createPooledServer: the base server must be a function (request, response), got ${base === null ? "null" : typeof base}`,
    );
  }
  return async (request, response) => {
    await base(request, response);
  };
}
