import type { EmbeddingAnswer, Inference, InferenceDirectives } from "@vg/pooled-server";
import type { Model } from "../models/catalogue.ts";
import type { Upstream } from "./upstream.ts";

interface EmbedOptions {
  /** "float" or "base64", and what else the vectors depend on. */
  extra: Readonly<Record<string, unknown>>;
  encoding: string;
  cache: unknown;
  tenant: string;
  directives: InferenceDirectives;
  signal: AbortSignal;
  traceparent: string;
}

/** Both dialects have the same vectors, so they share them. */
const ROUTE = "/embeddings";

/** Embeddings by the pooled server's cache, text by text; the upstream is asked for what is missing. */
export class EmbeddingService {
  readonly #inference: Inference;
  readonly #upstream: Upstream;

  constructor(inference: Inference, upstream: Upstream) {
    this.#inference = inference;
    this.#upstream = upstream;
  }

  embed(model: Model, texts: readonly string[], options: EmbedOptions): Promise<EmbeddingAnswer> {
    const { extra, encoding, cache, tenant, directives, signal, traceparent } = options;
    return this.#inference.embed(
      {
        body: { ...extra, model: model.id, input: texts, encoding_format: encoding, cache },
        route: ROUTE,
        tenant,
        directives,
        traceparent,
      },
      async (call) => {
        const missing = call.body["input"] as string | readonly string[];
        const list = typeof missing === "string" ? [missing] : missing;
        const document = await this.#upstream.embed(model, list, extra, { signal: call.signal, traceparent });
        return { ...document, model: model.id };
      },
      { signal },
    );
  }
}
