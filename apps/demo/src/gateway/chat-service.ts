/**
 * A completion's way: the pooled server's inference cache, and on a miss one call to the upstream, however many ask for it.
 * The call is always a stream; what the gateway has to say about it (the fallback, tokens that nobody counted) goes into
 * its last chunk, and so into the cache.
 */
import { DocumentBuilder, type Inference, type InferenceAnswer, type InferenceDirectives } from "@vg/pooled-server";
import type { JsonObject } from "@vg/pooled-server";
import { findModel, type Model } from "../models/catalogue.ts";
import { ApiError } from "./api-error.ts";
import type { ChatRequest } from "./chat-request.ts";
import { estimateUsage, readUsage, type Usage } from "./tokens.ts";
import { ModelMissingError, type Upstream } from "./upstream.ts";

interface CompleteOptions {
  tenant: string;
  directives: InferenceDirectives;
  traceparent: string;
  /** Aborts this caller only. */
  signal: AbortSignal;
}

/** What the gateway's dialects show of a completion. */
export interface Completion {
  readonly message: JsonObject;
  readonly finishReason: string;
  readonly logprobs: unknown;
  readonly usage: Usage;
  readonly fallbackUsed: boolean;
}

/** Both dialects have the same answers, so they share them. */
const ROUTE = "/chat/completions";

export class ChatService {
  readonly #inference: Inference;
  readonly #upstream: Upstream;

  constructor(inference: Inference, upstream: Upstream) {
    this.#inference = inference;
    this.#upstream = upstream;
  }

  /** Resolves when the first piece is there. */
  complete(chat: ChatRequest, { tenant, directives, traceparent, signal }: CompleteOptions): Promise<InferenceAnswer> {
    const body = { ...chat.body, model: chat.model.id, cache: chat.cache };
    return this.#inference.complete(
      { body, route: ROUTE, tenant, directives, traceparent },
      (call) => this.#chunks(chat, { signal: call.signal, traceparent }),
      { signal },
    );
  }

  async *#chunks({ model, body }: ChatRequest, call: { signal: AbortSignal; traceparent: string }) {
    const fallback = findModel(model.fallback_model ?? "");
    try {
      yield* this.#wholeChunks(model, body, call, false);
    } catch (error) {
      if (!(error instanceof ModelMissingError) || fallback === undefined) throw error;
      yield* this.#wholeChunks(fallback, body, call, true);
    }
  }

  /** The upstream's chunks, and a last one that has the usage for certain. */
  async *#wholeChunks(
    model: Model,
    body: JsonObject,
    call: { signal: AbortSignal; traceparent: string },
    fallbackUsed: boolean,
  ): AsyncGenerator<JsonObject> {
    const builder = new DocumentBuilder();
    let usage: Usage | undefined;
    for await (const { usage: counted, ...chunk } of this.#upstream.chat(model, body, call)) {
      usage = readUsage(counted) ?? usage;
      builder.add(chunk);
      if (firstChoice(chunk) !== undefined) yield chunk;
    }
    const { finish_reason: reason, message } = firstChoice(builder.build()) ?? {};
    if (typeof reason !== "string") {
      throw new ApiError("inference_error", "The model server ended its answer without saying why it stopped.");
    }
    yield { choices: [], usage: usage ?? estimateUsage(body, message), fallback_used: fallbackUsed };
  }
}

/** The completion that a document of the cache holds. */
export function completionOf(document: JsonObject): Completion {
  const { message, finish_reason: finishReason, logprobs = null } = firstChoice(document) ?? {};
  return {
    message: message as JsonObject,
    finishReason: finishReason as string,
    logprobs,
    usage: document["usage"] as Usage,
    fallbackUsed: document["fallback_used"] === true,
  };
}

export function firstChoice({ choices }: JsonObject): JsonObject | undefined {
  const [first] = Array.isArray(choices) ? (choices as unknown[]) : [];
  return first !== null && typeof first === "object" ? (first as JsonObject) : undefined;
}
