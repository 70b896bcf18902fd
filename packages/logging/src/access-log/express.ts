import type { IncomingMessage, ServerResponse } from "node:http";
import { expressRoute } from "@vg/internal";
import type { AccessLines } from "./access-lines.ts";
import type { Exchange } from "./exchange.ts";
import { beginExchange, exchangeOf } from "./node-exchange.ts";
import { runInRequest } from "./request-context.ts";

type Next = (error?: unknown) => void;
export type ExpressMiddleware = (request: IncomingMessage, response: ServerResponse, next: Next) => void;
export type ExpressErrorMiddleware = (
  error: unknown,
  request: IncomingMessage,
  response: ServerResponse,
  next: Next,
) => void;

export function expressMiddleware(lines: AccessLines): ExpressMiddleware {
  return (request, response, next) => {
    const exchange = beginExchange(lines, request, response) ?? exchangeOf(request);
    if (exchange === undefined) return next();
    exchange.findRoute ??= routeOf;
    runInRequest(exchange.ids, next);
  };
}

/** Express tells its errors only to middleware of four arguments. This one looks, and hands on. */
export function expressErrorMiddleware(): ExpressErrorMiddleware {
  return (error, request, _response, next) => {
    const exchange = exchangeOf(request);
    if (exchange !== undefined) exchange.error ??= error;
    next(error);
  };
}

function routeOf({ request }: Exchange): string | undefined {
  return expressRoute(request);
}
