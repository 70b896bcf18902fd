import type { LRUCache } from "@vg/cache";
import { outgoingHeaders } from "../request/request-context.ts";
import { Completions } from "./completions.ts";
import type { CompleteOptions, Forward, InferenceRequest } from "./inference-request.ts";
import { Embeddings, type EmbeddingAnswer } from "./embeddings.ts";
import { completionsHandler, embeddingsHandler, type InferenceHandler } from "./http/handlers.ts";
import type { HandlerOptions, HttpForward } from "./http/handler-options.ts";
import type { InferenceAnswer } from "./inference-answer.ts";
import type { InferenceMeter } from "./inference-meter.ts";
import type { InferenceSettings } from "./inference-options.ts";
import { createCounters, snapshotOf, type InferenceStats } from "./inference-stats.ts";

/** Where whole answers and vectors are kept. Values that others keep there are left alone. */
export interface InferenceCaches {
  completions: LRUCache<string, unknown>;
  embeddings: LRUCache<string, unknown>;
}

/**
 * A cache that may stand in front of a model. Identical requests share one call, streams included; whole answers are
 * stored and served in either form; whose request it is, is in every key.
 */
export class Inference {
  readonly #counters = createCounters();
  readonly #settings: InferenceSettings;
  readonly #completions: Completions;
  readonly #embeddings: Embeddings;

  constructor(caches: InferenceCaches, settings: InferenceSettings, meter: InferenceMeter) {
    this.#settings = settings;
    this.#completions = new Completions(caches.completions, settings, this.#counters, meter);
    this.#embeddings = new Embeddings(caches.embeddings, settings, this.#counters, meter);
  }

  /**
   * Answers a chat completion or a text completion from the cache, from a call that is in flight, or by `forward`.
   * Resolves when the first piece is there, so that an early failure can still become a status.
   *
   * @throws whatever `forward` throws, to everybody who waits for this call; the signal's reason
   * @throws InferenceUpstreamError where the upstream refuses, or sends what is no answer
   * @throws InferenceNotCachedError, InferenceCrowdedError, InferenceRequestError
   */
  complete(request: InferenceRequest, forward: Forward, options: CompleteOptions = {}): Promise<InferenceAnswer> {
    return this.#completions.complete(request, forward, options);
  }

  /**
   * Answers an embeddings request input by input: what is stored or being asked for is taken from there, the rest is one
   * call of `forward` with each missing input once. Throws as `complete`.
   */
  embed(
    request: InferenceRequest,
    forward: Forward,
    { signal }: { signal?: AbortSignal | undefined } = {},
  ): Promise<EmbeddingAnswer> {
    return this.#embeddings.embed(traced(request), forward, signal);
  }

  /**
   * A handler for `POST …/chat/completions` and `POST …/completions`: `(request, response)` for node:http and Express,
   * `.fetch(request)` for Hono and its like. What fails is answered in OpenAI's form.
   *
   * @throws PooledServerConfigError for an option that cannot be
   */
  completions(forward: HttpForward, options: HandlerOptions = {}): InferenceHandler {
    return completionsHandler(this.#completions, this.#settings, this.#counters, forward, options);
  }

  /** As `completions`, for `POST …/embeddings`. */
  embeddings(forward: HttpForward, options: HandlerOptions = {}): InferenceHandler {
    return embeddingsHandler(this, this.#settings, this.#counters, forward, options);
  }

  getStats(): InferenceStats {
    const { flights, waiters } = this.#completions;
    return snapshotOf(this.#counters, { flights, waiters });
  }
}

function traced(request: InferenceRequest): InferenceRequest {
  return request.traceparent === undefined ? { ...request, traceparent: outgoingHeaders()["traceparent"] } : request;
}
