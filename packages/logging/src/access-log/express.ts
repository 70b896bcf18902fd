import type { IncomingMessage, ServerResponse } from "node:http";
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
    exchange.findRoute ??= expressRoute;
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

// Express as far as it is looked at. Nothing here is imported, and every part of it may be missing.
interface Layer {
  readonly route?: object | undefined;
  readonly handle?: unknown;
  /** What was given to `use`. */
  readonly rawPath?: unknown;
  match?(path: string): unknown;
  readonly keys?: readonly unknown[] | undefined;
}
interface App {
  readonly router?: { readonly stack?: readonly Layer[] };
  readonly parent?: App;
  readonly mountpath?: unknown;
}
interface ExpressRequest {
  readonly route?: { readonly path?: unknown };
  readonly baseUrl?: string;
  readonly app?: App;
}

/** The template of routers mounted above a route, by the route; it doesn't change once requests come in. */
const mounts = new WeakMap<object, string | false>();

function expressRoute({ request }: Exchange): string | undefined {
  const { route, baseUrl = "", app } = request as ExpressRequest;
  if (route === undefined) return undefined;
  const own = typeof route.path === "string" ? route.path : undefined;
  if (own === undefined) return baseUrl === "" && route.path instanceof RegExp ? String(route.path) : undefined;
  if (baseUrl === "") return own;
  let above = mounts.get(route);
  if (above === undefined) {
    above = app === undefined ? false : (mountOf(app, route, baseUrl) ?? false);
    mounts.set(route, above);
  }
  return above === false ? undefined : joinPaths(above, own);
}

/**
 * `baseUrl` has the values of the parameters in it, so the template is put together from where the routers are mounted.
 * `undefined` where that can't be told, or not for sure.
 */
function mountOf(app: App, route: object, baseUrl: string): string | undefined {
  const within = pathTo(app.router?.stack ?? [], route, baseUrl, 0);
  if (within === undefined) return undefined;
  if (app.parent === undefined) return within;
  // An app that is mounted in another.
  if (typeof app.mountpath !== "string") return undefined;
  const above = outerMount(app.parent);
  return above === undefined ? undefined : joinPaths(joinPaths(above, app.mountpath), within);
}

function outerMount(app: App): string | undefined {
  if (app.parent === undefined) return "";
  const above = outerMount(app.parent);
  return above === undefined || typeof app.mountpath !== "string" ? undefined : joinPaths(above, app.mountpath);
}

function pathTo(stack: readonly Layer[], route: object, rest: string, depth: number): string | undefined {
  if (depth > 16) return undefined;
  for (const layer of stack) {
    if (layer.route === route) return "";
    const inner = stackOf(layer.handle);
    if (inner === undefined) continue;
    const below = pathTo(inner, route, rest, depth + 1);
    if (below === undefined) continue;
    const own = mountPath(layer, rest);
    return own === undefined ? undefined : joinPaths(own, below);
  }
  return undefined;
}

function mountPath(layer: Layer, rest: string): string | undefined {
  const { rawPath } = layer;
  if (typeof rawPath === "string") return rawPath;
  if (rawPath !== undefined || typeof layer.match !== "function") return undefined;
  // Older routers forget what they were given, but know whether it has parameters: without, it is what has matched.
  if (layer.match(rest) !== true || (layer.keys?.length ?? 0) > 0) return undefined;
  const { path } = layer as { path?: unknown };
  return typeof path === "string" && rest.startsWith(path) ? path : undefined;
}

function stackOf(handle: unknown): readonly Layer[] | undefined {
  const { stack, router } = (handle ?? {}) as { stack?: unknown; router?: { stack?: unknown } };
  if (Array.isArray(stack)) return stack as Layer[];
  return Array.isArray(router?.stack) ? (router.stack as Layer[]) : undefined;
}

function joinPaths(above: string, below: string): string {
  const start = above.endsWith("/") ? above.slice(0, -1) : above;
  if (below === "" || below === "/") return start === "" ? below : start;
  return start + (below.startsWith("/") ? below : `/${below}`);
}
