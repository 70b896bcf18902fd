import type { IncomingMessage } from "node:http";

/** Without the query, which may hold secrets, and without the origin that proxies put before it. */
export function pathOf(request: IncomingMessage): string {
  // Express shortens `url` below a router, and keeps the whole.
  const { originalUrl } = request as { originalUrl?: unknown };
  const url = typeof originalUrl === "string" ? originalUrl : (request.url ?? "/");
  if (!url.startsWith("/")) return URL.parse(url)?.pathname ?? url;
  const end = url.indexOf("?");
  return end === -1 ? url : url.slice(0, end);
}
