import type { LRUCache } from "@vg/cache";
import type { Model } from "../models/catalogue.ts";
import { cacheKey } from "./cache-key.ts";
import type { Upstream } from "./upstream.ts";

export interface EmbeddingResult {
  readonly vectors: readonly (readonly number[])[];
  /** What the upstream counted for the texts that it was asked about; 0 when all came from the cache. */
  readonly promptTokens: number;
  /** How many of the texts came from the cache. */
  readonly hits: number;
}

/** Embeddings are cached text by text: a list is answered from the cache as far as that goes, the rest in one call. */
export class EmbeddingService {
  readonly #cache: LRUCache<string, readonly number[]>;
  readonly #upstream: Upstream;

  constructor(cache: LRUCache<string, readonly number[]>, upstream: Upstream) {
    this.#cache = cache;
    this.#upstream = upstream;
  }

  async embed(
    model: Model,
    texts: readonly string[],
    extra: Readonly<Record<string, unknown>>,
    call: { tenant: string; signal: AbortSignal; traceparent: string },
  ): Promise<EmbeddingResult> {
    const keys = texts.map((text) => cacheKey("embedding", model.id, call.tenant, { text, ...extra }));
    const vectors = keys.map((key) => this.#cache.get(key));
    // A text that stands twice in the list is asked about once.
    const missing = new Map<string, string>();
    for (const [i, vector] of vectors.entries()) {
      if (vector === undefined) missing.set(keys[i] as string, texts[i] as string);
    }
    const hits = vectors.filter((vector) => vector !== undefined).length;
    if (missing.size === 0) return { vectors: vectors as (readonly number[])[], promptTokens: 0, hits };

    const answer = await this.#upstream.embed(model, [...missing.values()], extra, call);
    const fresh = new Map([...missing.keys()].map((key, i) => [key, answer.vectors[i] as readonly number[]]));
    for (const [key, vector] of fresh) this.#cache.set(key, vector);
    return {
      vectors: vectors.map((vector, i) => vector ?? (fresh.get(keys[i] as string) as readonly number[])),
      promptTokens: answer.promptTokens,
      hits,
    };
  }
}
