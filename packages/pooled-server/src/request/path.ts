import type { IncomingMessage } from "node:http";

/** Without the query, which may hold secrets, and without the origin that proxies put before it. */
export function pathOf(request: IncomingMessage): string {
  const url = request.url ?? "/";
  if (!url.startsWith("/")) return URL.parse(url)?.pathname ?? url;
  const end = url.indexOf("?");
  return end === -1 ? url : url.slice(0, end);
}
