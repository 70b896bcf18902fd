/**
 * A completion's way: canonical key -> inference cache -> (miss) one call to the upstream, however many ask for it.
 *
 * The call is always a stream. Its pieces go to everybody who waits for this key, whether as a stream or for the whole;
 * the whole goes into the cache when, and only when, it is complete. When the last waiter leaves, the call is aborted.
 */
import type { LRUCache } from "@vg/cache";
import type { Model } from "../models/catalogue.ts";
import { findModel } from "../models/catalogue.ts";
import { ApiError } from "./api-error.ts";
import { cacheKey } from "./cache-key.ts";
import type { ChatRequest } from "./chat-request.ts";
import { CompletionBuilder, estimateTokens, LiveCompletion, type Completion, type Piece } from "./completion.ts";
import { ModelMissingError, type Upstream } from "./upstream.ts";

export interface CompletionResult {
  readonly completion: Completion;
  /** `hit`: from the cache; `miss`: this request made the call; `collapsed`: it shared another one's. */
  readonly cache: CacheStatus;
}

export type CacheStatus = "hit" | "miss" | "collapsed";

interface CompleteOptions {
  tenant: string;
  traceparent: string;
  /** Aborts this caller only. */
  signal: AbortSignal;
  /** Gets the pieces in order, from the first. A stored completion comes as one piece. */
  onPiece?: (piece: Piece, cache: CacheStatus) => Promise<void>;
}

export class ChatService {
  readonly #cache: LRUCache<string, Completion>;
  readonly #upstream: Upstream;
  readonly #live = new Map<string, LiveCompletion>();

  constructor(cache: LRUCache<string, Completion>, upstream: Upstream) {
    this.#cache = cache;
    this.#upstream = upstream;
  }

  async complete(request: ChatRequest, options: CompleteOptions): Promise<CompletionResult> {
    const { tenant, traceparent, signal, onPiece } = options;
    const key = cacheKey("inference", request.model.id, tenant, request.body);
    let called = false;
    const whole = this.#cache.getOrLoad(
      key,
      async (context) => {
        called = true;
        return await this.#load(key, request, { signal: context.signal, traceparent });
      },
      { signal },
    );
    // The pieces below may end first; this promise is looked at afterwards.
    whole.catch(() => undefined);
    // The loader has run up to its first wait by now, so the live completion is there, ours or another's.
    const live = this.#live.get(key);
    const cache: CacheStatus = called ? "miss" : live !== undefined ? "collapsed" : "hit";
    if (onPiece !== undefined && live !== undefined) {
      for await (const piece of live.read(signal)) await onPiece(piece, cache);
    }
    const completion = await whole;
    if (onPiece !== undefined && live === undefined) {
      await onPiece({ delta: completion.message, finishReason: null, usage: undefined }, cache);
      await onPiece({ delta: {}, finishReason: completion.finishReason, usage: completion.usage }, cache);
    }
    return { completion, cache };
  }

  async #load(
    key: string,
    { model, body }: ChatRequest,
    call: { signal: AbortSignal; traceparent: string },
  ): Promise<Completion> {
    const live = new LiveCompletion();
    this.#live.set(key, live);
    try {
      const builder = new CompletionBuilder();
      let fallbackUsed = false;
      try {
        await this.#pump(model, body, call, builder, live);
      } catch (error) {
        const fallback = error instanceof ModelMissingError ? findModel(model.fallback_model ?? "") : undefined;
        if (fallback === undefined) throw error;
        fallbackUsed = true;
        await this.#pump(fallback, body, call, builder, live);
      }
      return finish(builder, body, fallbackUsed);
    } finally {
      live.end();
      // After an invalidation a newer load may live under this key.
      if (this.#live.get(key) === live) this.#live.delete(key);
    }
  }

  async #pump(
    model: Model,
    body: Readonly<Record<string, unknown>>,
    call: { signal: AbortSignal; traceparent: string },
    builder: CompletionBuilder,
    live: LiveCompletion,
  ): Promise<void> {
    for await (const piece of this.#upstream.chat(model, body, call)) {
      builder.add(piece);
      live.append(piece);
    }
  }
}

function finish(
  builder: CompletionBuilder,
  body: Readonly<Record<string, unknown>>,
  fallbackUsed: boolean,
): Completion {
  const { finishReason, message } = builder;
  if (finishReason === undefined) {
    throw new ApiError("inference_error", "The model server ended its answer without saying why it stopped.");
  }
  return {
    message,
    finishReason,
    usage: builder.usage ?? estimateUsage(body, message),
    created: Math.floor(Date.now() / 1000),
    fallbackUsed,
  };
}

/** For servers that count nothing in a stream, and for answers that broke off. */
export function estimateUsage(body: Readonly<Record<string, unknown>>, answer: object): Completion["usage"] {
  const prompt_tokens = estimateTokens(JSON.stringify(body["messages"]));
  const completion_tokens = estimateTokens(JSON.stringify(answer));
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
}
