/** The API's routes, and what all of them share: the key, the limits, the errors, the usage row and the log line. */
import type { IncomingMessage, ServerResponse } from "node:http";
import {
  currentRequest,
  InferenceCrowdedError,
  InferenceError,
  InferenceNotCachedError,
  InferenceRequestError,
  LifecycleError,
  type RequestContext,
} from "@vg/pooled-server";
import { ApiError, dialectOf, errorDocument, statusOf } from "./api-error.ts";
import type { Call, GatewayParts } from "./call.ts";
import { handleChat } from "./handle-chat.ts";
import { handleEmbeddings } from "./handle-embeddings.ts";
import { handleModels } from "./handle-models.ts";
import { handleUsage } from "./handle-usage.ts";
import { sendJson } from "./http.ts";

interface Route {
  method: "GET" | "POST";
  handle: (call: Call) => Promise<void>;
  /** Whether the request becomes a usage row. */
  metered?: boolean;
}

const ROUTES = new Map<string, Route>([
  ["/chat/completions", { method: "POST", handle: handleChat, metered: true }],
  ["/embeddings", { method: "POST", handle: handleEmbeddings, metered: true }],
  ["/models", { method: "GET", handle: handleModels }],
  ["/usage", { method: "GET", handle: handleUsage }],
]);

/** How long a client of a refused request may go on sending before its connection is cut. */
const LINGER_MS = 1_000;

export function createGateway(
  parts: () => GatewayParts,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  return async (request, response) => {
    const context = currentRequest() as RequestContext;
    const url = urlOf(request);
    const call: Call = {
      request,
      response,
      context,
      dialect: dialectOf(url.pathname),
      path: url.pathname,
      query: url.searchParams,
      parts: parts(),
      usage: {},
      partialUsage: undefined,
      startedAt: performance.now(),
    };
    let metered = false;
    response.once("close", () => {
      if (metered) addUsageRow(call);
    });
    try {
      const route = findRoute(call);
      call.parts.keys.require(request);
      // Only now: who may not use the API must not fill the database either.
      metered = route.metered === true;
      await route.handle(call);
    } catch (error) {
      answerError(call, error);
    }
  };
}

function findRoute(call: Call): Route {
  const { path, request, context } = call;
  const match = /^\/v[12](\/.*)$/.exec(path);
  const route = match === null || path === "/v1/usage" ? undefined : ROUTES.get(match[1] as string);
  if (route === undefined) {
    throw new ApiError(
      "not_found",
      `There is nothing at ${path.slice(0, 100)}; see /v2/models, /v2/chat/completions, /v2/embeddings, /v2/usage and /v2/health.`,
    );
  }
  context.route = path;
  if (request.method !== route.method && !(request.method === "HEAD" && route.method === "GET")) {
    call.response.setHeader("allow", route.method);
    throw new ApiError("method_not_allowed", `${path} takes ${route.method}, not ${request.method}.`);
  }
  return route;
}

/** The path and query, also where a proxy put an origin before them. A target that is no URL has no route. */
function urlOf(request: IncomingMessage): URL {
  const target = request.url ?? "/";
  const url = target.startsWith("/") ? URL.parse(`http://gateway${target}`) : URL.parse(target);
  return url ?? new URL("http://gateway/");
}

function answerError(call: Call, error: unknown): void {
  const { response, request, context, dialect } = call;
  // The client has left: nobody to answer to, and nothing went wrong here.
  if (response.destroyed) return;
  if (error instanceof LifecycleError) {
    if (response.headersSent) return endStreamForShutdown(call);
    error = closing(error);
  }
  if (error instanceof InferenceError) error = translated(error);
  if (!(error instanceof ApiError)) throw error;
  const status = statusOf(error, dialect);
  // An unknown model is the client's mistake, whatever status the service has for it.
  if (status >= 500 && error.code !== "model_not_found" && error.code !== "not_cached") {
    context.logger.error("The request failed", error, { code: error.code, path: call.path });
  }
  const { code, message, param, retryAfterSeconds } = error;
  const document = errorDocument(dialect, { code, message, param, retryAfterSeconds, traceId: context.traceId });
  if (response.headersSent) {
    // A stream has begun: its status is out, so the error is its last event, and there is no [DONE].
    context.status = status;
    response.end(`data: ${JSON.stringify(document)}\n\n`);
    return;
  }
  if (status === 401) response.setHeader("www-authenticate", "Bearer");
  if (!request.complete) {
    // The rest of a body that is not wanted: answer, let the client read that, then end the connection.
    response.setHeader("connection", "close");
    request.resume();
    const linger = setTimeout(() => request.destroy(), LINGER_MS);
    request.once("close", () => clearTimeout(linger));
  }
  sendJson(
    response,
    status,
    document,
    retryAfterSeconds === undefined ? {} : { "retry-after": String(retryAfterSeconds) },
  );
}

/** A stream that the shutdown cannot wait for ends whole: the reason, and the end that every stream has. */
function endStreamForShutdown({ response, context, dialect }: Call): void {
  context.status = 503;
  const message =
    "The service is shutting down before this answer was complete; ask again, another instance will answer.";
  const document = errorDocument(dialect, {
    code: "service_unavailable",
    type: "server_shutdown",
    message,
    traceId: context.traceId,
  });
  response.end(`data: ${JSON.stringify(document)}\n\ndata: [DONE]\n\n`);
}

/** What the inference cache refuses, in the gateway's words. */
function translated(error: InferenceError): ApiError {
  const { message, param, retryAfterSeconds } = error;
  if (error instanceof InferenceRequestError) {
    return new ApiError("invalid_request", message, param === undefined ? {} : { param });
  }
  if (error instanceof InferenceNotCachedError) return new ApiError("not_cached", message);
  if (error instanceof InferenceCrowdedError) {
    return new ApiError("service_unavailable", message, { cause: error, retryAfterSeconds: retryAfterSeconds ?? 1 });
  }
  return new ApiError("inference_error", message, { cause: error });
}

/** What is still active near the end of a shutdown is aborted with the server's own error. */
function closing(cause: LifecycleError): ApiError {
  return new ApiError("service_unavailable", "The service is shutting down; try again, another instance will answer.", {
    cause,
    retryAfterSeconds: 1,
  });
}

function addUsageRow({ parts, usage, partialUsage, context, response, path, startedAt }: Call): void {
  parts.usage?.add({
    request_id: context.requestId,
    trace_id: context.traceId,
    route: path,
    status: context.status ?? (response.writableFinished ? response.statusCode : 499),
    model: null,
    domain: null,
    prompt_tokens: 0,
    completion_tokens: 0,
    total_tokens: 0,
    latency_ms: Math.round((performance.now() - startedAt) * 1000) / 1000,
    cache_hit: false,
    workflow_id: null,
    user_id: null,
    session_id: null,
    ...(usage.total_tokens === undefined ? partialUsage?.() : undefined),
    ...usage,
  });
}
