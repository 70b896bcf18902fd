/**
 * The templates of the routes that frameworks match, found by structure: nothing is imported, and every part that is
 * looked at may be missing. A template is the program's own; a path is the client's to choose.
 */

// Express as far as it is looked at.
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

/** The template of the route that an Express app has chosen for its request; `undefined` where it can't be told for sure. */
export function expressRoute(request: object): string | undefined {
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

/** One of Hono's routes: a handler's, or a middleware's. */
interface HonoRoute {
  readonly method: string;
  readonly path: string;
  readonly handler: unknown;
}

/**
 * The template of the route that answers, of those that Hono has matched: middleware is matched by the same router,
 * and has no template to tell. It is told by its method, ALL, and its two arguments.
 *
 * @param reached the index of the last one that was called, where it is known
 */
export function honoRoute(routes: readonly HonoRoute[], reached?: number): string | undefined {
  const last = reached === undefined ? undefined : routes.findLast((each, at) => at <= reached && isHandler(each));
  return (last ?? routes.find(isHandler))?.path;
}

function isHandler({ method, handler }: HonoRoute): boolean {
  if (method !== "ALL") return true;
  let inner = handler;
  // A handler of an app that is mounted in another is wrapped.
  while (typeof inner === "function" && "__COMPOSED_HANDLER" in inner) inner = inner.__COMPOSED_HANDLER;
  return typeof inner === "function" && inner.length < 2;
}
