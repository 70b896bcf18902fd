import type { EventEmitter } from "node:events";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { AccessLines } from "./access-lines.ts";
import { beginExchange, type NodeExchange, type NodeRequest, type NodeResponse } from "./node-exchange.ts";
import { runInRequest } from "./request-context.ts";
import { beginUpgrade } from "./upgrade-exchange.ts";

export type { NodeRequest, NodeResponse } from "./node-exchange.ts";

/** A listener for "request" of a server. It may be async. */
export type NodeListener<Request extends NodeRequest, Response extends NodeResponse> = (
  request: Request,
  response: Response,
) => unknown;

/** A server of node:http, node:https or node:http2. */
export type NodeServer = Pick<EventEmitter, "on" | "prependListener" | "removeListener" | "listenerCount">;

/** @returns the listener, inside the context of each request; what it throws or rejects with goes on to the caller */
export function wrapListener<Request extends NodeRequest, Response extends NodeResponse>(
  lines: AccessLines,
  listener: NodeListener<Request, Response>,
): NodeListener<Request, Response> {
  return (request, response) => {
    const exchange = beginExchange(lines, request, response);
    if (exchange === undefined) return listener(request, response);
    try {
      const result = runInRequest(exchange.ids, listener, request, response);
      // In the place of the listener's promise, so that a rejection is still somebody's to handle, and only once.
      return isThenable(result) ? result.then(undefined, (error) => rethrow(exchange, error)) : result;
    } catch (error) {
      return rethrow(exchange, error);
    }
  };
}

function rethrow(exchange: NodeExchange, error: unknown): never {
  exchange.error ??= error;
  throw error;
}

/** These have a request and a response. To listen to one that has no other listener would change what the server does. */
const REQUEST_EVENTS = new Set<unknown>(["checkContinue", "checkExpectation"]);
const UPGRADE_EVENTS = new Set<unknown>(["upgrade", "connect"]);

/** @returns a function that ends it */
export function attachTo(lines: AccessLines, server: NodeServer): () => void {
  const onRequest = (request: NodeRequest, response: NodeResponse): void => {
    beginExchange(lines, request, response);
  };
  const onUpgrade = (request: NodeRequest, socket: Duplex | NodeResponse): void => {
    // CONNECT over HTTP/2 has a response.
    if ("stream" in socket) beginExchange(lines, request, socket);
    else beginUpgrade(lines, request as IncomingMessage, socket as Duplex);
  };
  const joined = new Set<string>();
  const listenerFor = (event: unknown) =>
    REQUEST_EVENTS.has(event) ? onRequest : UPGRADE_EVENTS.has(event) ? onUpgrade : undefined;
  const join = (event: string): void => {
    const listener = listenerFor(event);
    if (listener === undefined || joined.has(event)) return;
    joined.add(event);
    server.prependListener(event, listener);
  };
  const leave = (event: string): void => {
    const listener = listenerFor(event);
    if (listener === undefined || !joined.has(event) || server.listenerCount(event) > 1) return;
    joined.delete(event);
    server.removeListener(event, listener);
  };

  server.prependListener("request", onRequest);
  for (const event of ["checkContinue", "checkExpectation", "upgrade", "connect"]) {
    if (server.listenerCount(event) > 0) join(event);
  }
  server.on("newListener", join);
  server.on("removeListener", leave);
  return () => {
    server.removeListener("newListener", join);
    server.removeListener("removeListener", leave);
    server.removeListener("request", onRequest);
    for (const event of joined) server.removeListener(event, listenerFor(event) ?? onRequest);
    joined.clear();
  };
}

function isThenable(value: unknown): value is Promise<unknown> {
  return typeof (value as { then?: unknown } | null | undefined)?.then === "function";
}
