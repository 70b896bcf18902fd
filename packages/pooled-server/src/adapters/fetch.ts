/** Anything with `fetch(request)`: a Hono app, an object such as Bun's, Deno's or a Worker's default export. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { honoRoute } from "@vg/internal";
import { currentRequest, type RequestContext } from "../request/request-context.ts";
import type { Adapter } from "./adapter.ts";
import { toRequest } from "./fetch-request.ts";
import { logFailure } from "./failure.ts";
import { isResponse, sendResponse } from "./fetch-response.ts";

/** node's own objects, as @hono/node-server hands them on; of Hono, they are `c.env`. */
export interface FetchEnvironment {
  readonly incoming: IncomingMessage;
  /** Who answers with it, need not return a Response that is sent. */
  readonly outgoing: ServerResponse;
}

/** A server that answers a WHATWG `Request` with a `Response`. */
export interface FetchServer {
  fetch(request: Request, environment: FetchEnvironment): unknown;
}

type FindRoute = (request: Request) => string | undefined;

export function isFetchServer(base: object): base is FetchServer {
  return typeof (base as { fetch?: unknown }).fetch === "function";
}

export function adaptFetch(base: FetchServer): Adapter {
  const findRoute = honoRoutes(base);
  return {
    kind: "fetch",
    async handle(incoming, outgoing) {
      const context = currentRequest() as RequestContext;
      const { signal } = context;
      const { request, body } = toRequest(incoming, signal);
      if (findRoute !== undefined) context.route = findRoute(request);
      try {
        const answer = await answerOf(base, request, { incoming, outgoing });
        await sendResponse(answer, incoming, outgoing, signal);
      } finally {
        body?.leave();
      }
    },
  };
}

/**
 * What it returns, or what the error that it throws has for an answer: Hono's `HTTPException`, with which its middleware
 * refuses (401, 413), where the app's `onError` hands everything on.
 */
async function answerOf(base: FetchServer, request: Request, environment: FetchEnvironment): Promise<unknown> {
  try {
    return await base.fetch(request, environment);
  } catch (error) {
    const answer = answerIn(error);
    if (answer === undefined) throw error;
    const context = currentRequest();
    if (answer.status >= 500 && context !== undefined) logFailure(context, environment.incoming, error);
    return answer;
  }
}

function answerIn(error: unknown): Response | undefined {
  const { getResponse } = (error ?? {}) as { getResponse?: unknown };
  if (typeof getResponse !== "function") return undefined;
  try {
    const answer: unknown = getResponse.call(error);
    return isResponse(answer) ? answer : undefined;
  } catch {
    // An error of the error's: the first one is the one to tell of.
    return undefined;
  }
}

type Route = Parameters<typeof honoRoute>[0][number];

// Hono as far as it is looked at: what it asks of its router for every request.
interface Hono extends FetchServer {
  getPath(request: Request, options: object): string;
  readonly router: { match(method: string, path: string): [[[unknown, Route], unknown][]] };
}

function honoRoutes(base: FetchServer): FindRoute | undefined {
  const { getPath, router } = base as Partial<Hono>;
  if (typeof getPath !== "function" || typeof router?.match !== "function") return undefined;
  const hono = base as Hono;
  return (request) => {
    try {
      const method = request.method === "HEAD" ? "GET" : request.method;
      const [matched] = hono.router.match(method, hono.getPath(request, {}));
      return honoRoute(matched.map(([[, route]]) => route));
    } catch {
      // A router that keeps its routes in another way has none to tell.
      return undefined;
    }
  };
}
