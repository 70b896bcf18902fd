/**
 * Express 5. Its own last handler shows stacks outside production and writes to the console; so the end of the chain is
 * here: an error that says its status is answered with Express's page for it, never with its text; any other is the
 * pipeline's 500; what no route took is Express's 404.
 */
import { STATUS_CODES, type IncomingMessage, type ServerResponse } from "node:http";
import { expressRoute } from "@vg/internal";
import { pathOf } from "../request/path.ts";
import type { Adapter } from "./adapter.ts";
import { logFailure } from "./failure.ts";
import { contextOf, keepContext } from "./keep-context.ts";

type ExpressApp = (request: IncomingMessage, response: ServerResponse, done: (error?: unknown) => void) => unknown;

/** An app, not a router: only apps have settings. */
export function isExpressApp(base: object): base is ExpressApp {
  const { use, set, handle } = base as Record<string, unknown>;
  return typeof base === "function" && [use, set, handle].every((each) => typeof each === "function");
}

export function adaptExpress(app: ExpressApp): Adapter {
  return {
    kind: "Express",
    handle(request, response) {
      keepContext(request, response);
      return new Promise<never>((_, reject) => {
        app(request, response, (error?: unknown) => {
          if (error === undefined || error === null || error === "router") notFound(request, response);
          else if (!answerByStatus(request, response, error)) reject(error);
        });
      });
    },
    routeOf: expressRoute,
  };
}

function notFound(request: IncomingMessage, response: ServerResponse): void {
  if (response.headersSent || response.destroyed) return;
  sendPage(request, response, 404, `Cannot ${request.method} ${pathOf(request)}`);
}

/** Answers where the error says with what; where it cannot, it is as if it had not said. */
function answerByStatus(request: IncomingMessage, response: ServerResponse, error: unknown): boolean {
  const status = statusOf(error);
  if (status === undefined || response.headersSent || response.destroyed) return false;
  const context = contextOf(request);
  if (!setHeadersOf(error, response)) return false;
  if (status >= 500 && context !== undefined) logFailure(context, request, error);
  sendPage(request, response, status, STATUS_CODES[status] ?? String(status));
  return true;
}

/** False where one of them can be no header: an exception here would be nobody's, and end the process. */
function setHeadersOf(error: unknown, response: ServerResponse): boolean {
  const { headers } = error as { headers?: unknown };
  if (typeof headers !== "object" || headers === null) return true;
  try {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value as string);
    return true;
  } catch {
    return false;
  }
}

function statusOf(error: unknown): number | undefined {
  const { status, statusCode } = error as { status?: unknown; statusCode?: unknown };
  return [status, statusCode].find(
    (each): each is number => Number.isInteger(each) && (each as number) >= 400 && (each as number) < 600,
  );
}

function sendPage(request: IncomingMessage, response: ServerResponse, status: number, text: string): void {
  const page = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Error</title>
</head>
<body>
<pre>${escapeHtml(text)}</pre>
</body>
</html>
`;
  response.statusCode = status;
  for (const name of ["content-encoding", "content-language", "content-range"]) response.removeHeader(name);
  response.setHeader("content-security-policy", "default-src 'none'");
  response.setHeader("x-content-type-options", "nosniff");
  response.setHeader("content-type", "text/html; charset=utf-8");
  response.setHeader("content-length", Buffer.byteLength(page));
  response.end(page);
  // What is left of a body that nobody reads would stand in the way of the connection's next request.
  request.unpipe();
  request.resume();
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (sign) => `&#${sign.charCodeAt(0)};`);
}
