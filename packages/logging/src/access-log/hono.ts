import { honoRoute } from "@vg/internal";
import type { AccessLines } from "./access-lines.ts";
import type { Exchange } from "./exchange.ts";
import { admit } from "./exchange.ts";
import { FetchExchange } from "./fetch-exchange.ts";
import { beginExchange, exchangeOf, type NodeRequest, type NodeResponse } from "./node-exchange.ts";
import { runInRequest } from "./request-context.ts";

/** Hono's context, as far as it is used. */
export interface HonoContext {
  readonly req: { readonly raw: Request };
  res: Response;
  readonly error?: Error | undefined;
  readonly env: unknown;
}
export type HonoMiddleware = (context: HonoContext, next: () => Promise<void>) => Promise<void>;

export function honoMiddleware(lines: AccessLines): HonoMiddleware {
  return async (context, next) => {
    const { incoming, outgoing } = (context.env ?? {}) as { incoming?: NodeRequest; outgoing?: NodeResponse };
    if (incoming !== undefined && outgoing !== undefined && typeof outgoing.setHeader === "function") {
      await overNode(lines, context, incoming, outgoing, next);
    } else {
      await overFetch(lines, context, next);
    }
  };
}

/** Under @hono/node-server the sockets are known, and tell more than a `Response` can. */
async function overNode(
  lines: AccessLines,
  context: HonoContext,
  incoming: NodeRequest,
  outgoing: NodeResponse,
  next: () => Promise<void>,
): Promise<void> {
  const begun = beginExchange(lines, incoming, outgoing);
  const exchange = begun ?? exchangeOf(incoming);
  if (exchange === undefined) return next();
  if (exchange.findRoute === undefined) {
    exchange.framework = context;
    exchange.findRoute = routeOf;
  }
  try {
    await runInRequest(exchange.ids, next);
    exchange.error ??= context.error;
    // node-server gives the head of the `Response`, in which what was set on `outgoing` may be missing.
    const { echo } = lines.settings;
    if (begun !== undefined && echo !== undefined) context.res.headers.set(echo, begun.requestId);
  } catch (error) {
    exchange.error ??= error;
    throw error;
  }
}

async function overFetch(lines: AccessLines, context: HonoContext, next: () => Promise<void>): Promise<void> {
  const exchange = new FetchExchange(lines, context.req.raw);
  if (!admit(exchange)) return next();
  exchange.framework = context;
  exchange.findRoute = routeOf;
  try {
    await runInRequest(exchange.ids, next);
  } catch (error) {
    exchange.error = error;
    exchange.finish(500, false);
    throw error;
  }
  exchange.error = context.error;
  const { echo } = lines.settings;
  if (echo !== undefined) context.res.headers.set(echo, exchange.requestId);
  const watched = exchange.watch(context.res);
  if (watched !== context.res) context.res = watched;
}

type MatchedRoute = Parameters<typeof honoRoute>[0][number];

/** The route that answered or would have. */
function routeOf({ framework }: Exchange): string | undefined {
  const { req } = framework as { req: { matchedRoutes?: readonly MatchedRoute[]; routeIndex?: number } };
  const routes = req.matchedRoutes ?? matchResult(req);
  return honoRoute(routes, req.routeIndex ?? routes.length - 1);
}

/** Where the deprecated `matchedRoutes` is gone: what Hono's own helper for routes reads. */
function matchResult(req: object): readonly MatchedRoute[] {
  for (let at: object | null = req; at !== null; at = Object.getPrototypeOf(at) as object | null) {
    const symbol = Object.getOwnPropertySymbols(at).find((each) => each.description === "matchResult");
    if (symbol === undefined) continue;
    const [found] = (req as Record<symbol, [[[unknown, MatchedRoute], unknown][]]>)[symbol] ?? [[]];
    return found.map(([[, route]]) => route);
  }
  return [];
}
