import type { IncomingMessage, ServerResponse } from "node:http";
import { ClientFaultError } from "../../admission/client-fault.ts";
import type { CacheOutcome } from "../cache-status.ts";
import { cacheHeaders } from "../cache-status.ts";
import type { Completions } from "../completions.ts";
import type { CompleteOptions, Forward, InferenceRequest } from "../inference-request.ts";
import { directivesFromHeaders } from "../directives.ts";
import type { EmbeddingAnswer } from "../embeddings.ts";
import { InferenceNotCachedError, InferenceRequestError, InferenceUpstreamError } from "../inference-error.ts";
import type { InferenceSettings } from "../inference-options.ts";
import type { InferenceCounters } from "../inference-stats.ts";
import { isObject, type JsonObject } from "../json.ts";
import { SeenBodies } from "../seen-bodies.ts";
import {
  checkedText,
  checkHandlerOptions,
  type HandlerOptions,
  type HandlerSettings,
  type HttpForward,
} from "./handler-options.ts";
import { failureReply, jsonReply, streamReply, type HttpCall, type Reply } from "./reply.ts";
import { parseBody, parseText } from "./request-body.ts";
import { serveFetch, serveNode, type Respond } from "./transports.ts";

/**
 * An endpoint that any service mounts. Resolves when the answer is complete or its client has left; never rejects for what
 * `forward` does.
 */
export interface InferenceHandler {
  /**
   * For node:http and Express, and Fastify after `reply.hijack()`. `body` is what a framework has parsed already; where it
   * is left out, `request.body` is taken if there is one, else the bytes are read.
   */
  (request: IncomingMessage, response: ServerResponse, body?: unknown): Promise<void>;
  /** For Hono and whatever else speaks fetch. */
  fetch(request: Request): Promise<Response>;
}

interface Embedder {
  embed(request: InferenceRequest, forward: Forward, options: { signal: AbortSignal }): Promise<EmbeddingAnswer>;
}

export function completionsHandler(
  core: Completions,
  settings: InferenceSettings,
  counters: InferenceCounters,
  forward: HttpForward,
  options: HandlerOptions,
): InferenceHandler {
  const checked = checkHandlerOptions("inference.completions", forward, options);
  // What a function of the service's gets is a body of its own: it may change it. (Nor is its key one that is remembered.)
  const bodies = checked.resolveModel === undefined ? new SeenBodies(parseText) : undefined;
  return handler(checked, settings, counters, async (call) => {
    const { body, seen } = parseBody(await call.readBody(), bodies);
    const request = requestOf(body, call, checked);
    const { stream, stream_options: wanted } = body;
    const terms = new CallOptions(call, stream === true);
    const answer = await core.complete(request, forwardWith(forward, call), terms, seen);
    if (stream !== true) return jsonReply(200, await answer.documentBytes(), answer.headers);
    const includeUsage = isObject(wanted) && wanted["include_usage"] === true;
    return streamReply(answer.events({ includeUsage }), answer.headers, terms.signal);
  });
}

export function embeddingsHandler(
  core: Embedder,
  settings: InferenceSettings,
  counters: InferenceCounters,
  forward: HttpForward,
  options: HandlerOptions,
): InferenceHandler {
  const checked = checkHandlerOptions("inference.embeddings", forward, options);
  return handler(checked, settings, counters, async (call) => {
    const { body } = parseBody(await call.readBody());
    const request = requestOf(body, call, checked);
    const answer = await core.embed(request, forwardWith(forward, call), { signal: call.signal });
    return jsonReply(200, Buffer.from(JSON.stringify(answer.document())), answer.headers);
  });
}

function handler(
  checked: HandlerSettings,
  { stalledClientMs, clock }: InferenceSettings,
  counters: InferenceCounters,
  answer: Respond,
): InferenceHandler {
  const respond: Respond = async (call) => {
    const begunAt = clock.now();
    let reply: Reply;
    try {
      if (call.method !== "POST") throw new InferenceRequestError("Send a POST request.", { status: 405 });
      reply = await answer(call);
    } catch (error) {
      reply = failureReply(error, headersOfFailure(error, call.outcome), call.signal);
    }
    // To the head of the answer, as OpenAI's own servers say it.
    reply.headers["openai-processing-ms"] = String(Math.max(0, Math.round(clock.now() - begunAt)));
    return reply;
  };
  const onStalled = (): void => void counters.stalled_clients++;
  const serve = (request: IncomingMessage, response: ServerResponse, body?: unknown): Promise<void> => {
    // Express calls with its `next` in third place.
    const parsed = typeof body === "function" || body === undefined ? (request as { body?: unknown }).body : body;
    return serveNode(respond, { request, response, body: parsed }, checked, { stalledClientMs, onStalled });
  };
  return Object.assign(serve, { fetch: (request: Request) => serveFetch(respond, request, checked) });
}

/** What the core may ask of a call; its signal is made only where the core does. */
class CallOptions implements CompleteOptions {
  readonly #call: HttpCall;
  readonly #isStream: boolean;
  #signal: AbortSignal | undefined;
  readonly onOutcome = (outcome: CacheOutcome): void => {
    this.#call.outcome = outcome;
  };

  constructor(call: HttpCall, isStream: boolean) {
    this.#call = call;
    this.#isStream = isStream;
  }

  get signal(): AbortSignal {
    this.#signal ??= this.#isStream ? this.#call.streamSignal : this.#call.signal;
    return this.#signal;
  }
}

function requestOf(body: JsonObject, call: HttpCall, settings: HandlerSettings): InferenceRequest {
  const { route = call.target, resolveModel, dependsOn } = settings;
  return {
    body,
    route,
    tenant: call.tenant,
    directives: directivesFromHeaders(call.header),
    ...(resolveModel === undefined ? {} : { model: checkedText("resolveModel", resolveModel(body)) }),
    ...(dependsOn.length === 0
      ? {}
      : { namespace: JSON.stringify(dependsOn.map((name) => call.header(name) ?? null)) }),
  };
}

function forwardWith(forward: HttpForward, { header }: HttpCall): Forward {
  return (call) => forward({ ...call, header });
}

/** Every answer says what the cache had to do with it, also one that failed. */
function headersOfFailure(error: unknown, outcome: CacheOutcome | undefined): Record<string, string> {
  if (error instanceof InferenceRequestError) return error.status === 405 ? { allow: "POST" } : {};
  // It was not whole, so the cache had nothing to do with it.
  if (error instanceof ClientFaultError) return {};
  if (error instanceof InferenceNotCachedError) return cacheHeaders({ result: "miss", detail: "only-if-cached" });
  return cacheHeaders({
    ...(outcome ?? { result: "miss", forward: "uri-miss" }),
    forwardStatus: error instanceof InferenceUpstreamError ? error.upstreamStatus : undefined,
  });
}
