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
interface Route {
  readonly path?: unknown;
}
interface ExpressRequest {
  readonly route?: Route;
  readonly baseUrl?: string;
  readonly originalUrl?: string;
  readonly app?: App;
}

/**
 * The templates of a route in all places where it is mounted, by app and route; `undefined` where one can't be told.
 * They don't change once requests come in.
 */
const templates = new WeakMap<object, WeakMap<object, readonly (string | undefined)[]>>();

/**
 * The template of the route that an Express app has chosen for its request; `undefined` where it can't be told for sure.
 *
 * `baseUrl` has the values of parameters in it, and is taken back when a router hands an error on, so the template is put
 * together from where the routers are mounted.
 */
export function expressRoute(request: object): string | undefined {
  const { route, baseUrl = "", originalUrl = "", app } = request as ExpressRequest;
  if (route === undefined) return undefined;
  const path = pathOf(originalUrl);
  const places = app === undefined ? [] : placesOf(app, route, baseUrl === "" ? path : baseUrl);
  // In a router that something else calls: what fits the whole path has nothing above it.
  if (places.length === 0) return baseUrl === "" ? ownTemplate(route, path) : undefined;
  if (places.length === 1 && app?.parent === undefined) return places[0];
  const fitting = places.filter((place) => place === undefined || fits(place, path));
  return fitting.length === 1 ? fitting[0] : undefined;
}

/** Of the target of a request: with a host where a proxy was asked. */
function pathOf(target: string): string {
  return target.replace(/^[a-z][a-z\d+.-]*:\/\/[^/?#]*|[?#].*$/gis, "");
}

function ownTemplate({ path: own }: Route, path: string): string | undefined {
  if (typeof own === "string") return fits(own, path) ? own : undefined;
  return own instanceof RegExp && own.test(path) ? String(own) : undefined;
}

function placesOf(app: App, route: Route, rest: string): readonly (string | undefined)[] {
  let ofApp = templates.get(app);
  if (ofApp === undefined) templates.set(app, (ofApp = new WeakMap()));
  let places = ofApp.get(route);
  if (places === undefined) {
    const above = outerMount(app);
    const found = mountsOf(stackOf(app) ?? [], route, rest, []);
    places = [...new Set(found.map((mount) => templateAt(above, mount, route)))];
    ofApp.set(route, places);
  }
  return places;
}

function templateAt(above: string | undefined, mount: string | undefined, { path: own }: Route): string | undefined {
  if (above === undefined || mount === undefined) return undefined;
  const start = joinPaths(above, mount);
  if (typeof own === "string") return start === "" ? own : joinPaths(start, own);
  // One that is put after something else would be none.
  return own instanceof RegExp && start === "" ? String(own) : undefined;
}

function outerMount(app: App): string | undefined {
  if (app.parent === undefined) return "";
  const above = outerMount(app.parent);
  return above === undefined || typeof app.mountpath !== "string" ? undefined : joinPaths(above, app.mountpath);
}

/** What is above the route, in each place where it is. @param within the routers that are looked into already */
function mountsOf(
  stack: readonly Layer[],
  route: object,
  rest: string,
  within: readonly (readonly Layer[])[],
): readonly (string | undefined)[] {
  return stack.flatMap((layer) => {
    if (layer.route === route) return [""];
    const inner = stackOf(layer.handle);
    if (inner === undefined || inner === stack || within.includes(inner)) return [];
    const below = mountsOf(inner, route, rest, [...within, stack]);
    if (below.length === 0) return [];
    return mountPaths(layer, rest).flatMap((own) =>
      below.map((mount) => (own === undefined || mount === undefined ? undefined : joinPaths(own, mount))),
    );
  });
}

/** Whether a template may be that of a path. Of two that look alike, neither is taken. */
function fits(template: string, path: string): boolean {
  const parts = template.split("/").filter((part) => part !== "");
  const values = path.split("/").filter((value) => value !== "");
  for (const [i, part] of parts.entries()) {
    // Optional parts and wildcards: what follows is not looked at.
    if (/[{*(]/.test(part)) return true;
    const value = values[i];
    if (value === undefined) return false;
    const [literal = "", ...parameters] = part.toLowerCase().split(":");
    const shown = decodeURIComponent(value).toLowerCase();
    if (parameters.length === 0 ? shown !== literal : !shown.startsWith(literal)) return false;
  }
  return parts.length === values.length;
}

function mountPaths(layer: Layer, rest: string): readonly (string | undefined)[] {
  const { rawPath } = layer;
  if (rawPath === undefined) return [matchedMount(layer, rest)];
  return [rawPath].flat().map((path) => (typeof path !== "string" ? undefined : path === "/" ? "" : path));
}

function matchedMount(layer: Layer, rest: string): string | undefined {
  if (typeof layer.match !== "function") return undefined;
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
