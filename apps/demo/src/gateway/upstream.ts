/**
 * The model server behind the gateway, spoken to in OpenAI's format: the embedded n-gram model, Ollama, LocalAI, vLLM,
 * llama-server or OpenAI. The gateway's own key goes to it; a client's credential never does.
 */
import type { HttpPool, HttpResponse } from "@vg/pool-http";
import { InferenceError, readChunks, type JsonObject } from "@vg/pooled-server";
import type { Model } from "../models/catalogue.ts";
import { ApiError } from "./api-error.ts";
import { estimateTokens, isCount } from "./tokens.ts";

export interface UpstreamOptions {
  /** Such as http://127.0.0.1:11434/v1 */
  baseUrl: string;
  apiKey?: string | undefined;
  /** The upstream's model for every id of ours ("*"), or for some. Where none is named, the first that it lists. */
  models: Readonly<Record<string, string>>;
  httpPool: HttpPool;
  /** For the health check, which must not wait behind completions. */
  checkPool: HttpPool;
  embedded: boolean;
}

/** `backend_type` of the answers that the embedded model gives. */
export const EMBEDDED_BACKEND = "embedded-ngram";

/** What one answer of the model server may have at most, however long its events are. */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;

interface CallOptions {
  signal: AbortSignal;
  traceparent: string;
}

export class Upstream {
  /** For the answers' metadata. */
  readonly backendType: string;
  readonly #options: UpstreamOptions;
  readonly #baseUrl: string;
  #firstListed: string | undefined;

  constructor(options: UpstreamOptions) {
    this.#options = options;
    this.#baseUrl = options.baseUrl.replace(/\/+$/, "");
    this.backendType = options.embedded ? EMBEDDED_BACKEND : "openai-compatible";
  }

  /**
   * Asks for a completion and yields its chunks as they come. Whoever stops reading, or aborts the signal, ends the
   * call at the upstream.
   *
   * @throws ApiError in the gateway's words; ModelMissingError where the upstream does not have the model
   */
  async *chat(model: Model, body: JsonObject, call: CallOptions): AsyncGenerator<JsonObject> {
    const response = await this.#post("/chat/completions", call, {
      ...body,
      model: await this.#modelFor(model, call.signal),
      stream: true,
      stream_options: { include_usage: true },
    });
    try {
      yield* readChunks(response, { maxBytes: MAX_ANSWER_BYTES });
    } catch (error) {
      throw this.#translate(error);
    }
  }

  /** The document with a vector for each text, in their order; the tokens by estimate where it does not count them. */
  async embed(
    model: Model,
    input: readonly string[],
    extra: Readonly<Record<string, unknown>>,
    call: CallOptions,
  ): Promise<JsonObject> {
    const upstreamModel = await this.#modelFor(model, call.signal);
    const response = await this.#post("/embeddings", call, {
      ...extra,
      model: upstreamModel,
      input,
      encoding_format: "float",
    });
    const document = await readObject(response).catch((error: unknown) => Promise.reject(this.#translate(error)));
    const { prompt_tokens: counted } = asObject(document["usage"]);
    const usage = { prompt_tokens: isCount(counted) ? counted : estimateTokens(input.join("")) };
    return { ...document, usage };
  }

  /** Whether the upstream answers; for the health check. */
  async check(signal: AbortSignal): Promise<void> {
    const { ok, error } = await this.#options.checkPool.health(`${this.#baseUrl}/models`, {
      headers: this.#headers(),
      signal,
    });
    if (!ok) throw new Error(error ?? "the model server does not answer");
  }

  async #modelFor(model: Model, signal: AbortSignal): Promise<string> {
    const { models } = this.#options;
    const named = models[model.id] ?? models["*"];
    if (named !== undefined) return named;
    this.#firstListed ??= (await this.#listModels(signal))[0];
    if (this.#firstListed === undefined) {
      throw new ApiError("model_not_found", "The model server lists no model; set UPSTREAM_MODEL.");
    }
    return this.#firstListed;
  }

  async #listModels(signal: AbortSignal): Promise<string[]> {
    try {
      const response = await this.#options.httpPool.get(`${this.#baseUrl}/models`, {
        headers: this.#headers(),
        signal,
        maxRetries: 0,
        maxRedirects: 0,
        timeoutMs: 5_000,
        maxResponseBytes: MAX_ANSWER_BYTES,
      });
      if (response.status >= 300) throw await refusal(response);
      const { data } = await readObject(response);
      return asArray(data).flatMap((item) => {
        const { id } = asObject(item);
        return typeof id === "string" ? [id] : [];
      });
    } catch (error) {
      throw this.#translate(error);
    }
  }

  async #post(path: string, { signal, traceparent }: CallOptions, body: object): Promise<HttpResponse> {
    try {
      const response = await this.#options.httpPool.do({
        method: "POST",
        url: `${this.#baseUrl}${path}`,
        headers: { ...this.#headers(), "content-type": "application/json", traceparent },
        body: JSON.stringify(body),
        signal,
        stream: true,
        maxResponseBytes: MAX_ANSWER_BYTES,
        // Prompts go to the server that was configured and to no other.
        maxRedirects: 0,
        // A completion changes nothing at the model server: one that it refused may be asked for again.
        retryOn: "rejected",
      });
      if (response.status >= 300) throw await refusal(response);
      return response;
    } catch (error) {
      throw this.#translate(error);
    }
  }

  #headers(): Record<string, string> {
    const { apiKey } = this.#options;
    return apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` };
  }

  /** Failures of the HTTP pool in the gateway's words. The cause stays, for the log; the client does not see it. */
  #translate(error: unknown): unknown {
    if (error instanceof ApiError) return error;
    if (error instanceof InferenceError) {
      return new ApiError("inference_error", `The model server failed. ${error.message.slice(0, 300)}`, {
        cause: error,
      });
    }
    const { code, phase } = asObject(error);
    if (code === "ERR_VG_HTTP_QUEUE_FULL" || (code === "ERR_VG_HTTP_TIMEOUT" && phase === "queue")) {
      const message = "All connections to the model server are in use; try again later.";
      return new ApiError("rate_limit_exceeded", message, { retryAfterSeconds: 1, cause: error });
    }
    if (code === "ERR_VG_HTTP_TIMEOUT") {
      return new ApiError("timeout", "The model server did not answer in time.", { cause: error });
    }
    if (typeof code === "string" && code.startsWith("ERR_VG_HTTP")) {
      return new ApiError("inference_error", "The model server cannot be reached.", { cause: error });
    }
    return error;
  }
}

/** The upstream does not have the model; another one may be asked. */
export class ModelMissingError extends ApiError {
  constructor(message: string) {
    super("model_not_found", message, { param: "model" });
  }
}

/** The upstream's refusal, as an error of ours. */
async function refusal(response: HttpResponse): Promise<ApiError> {
  const { status } = response;
  const said = await errorMessage(response);
  const words = said === undefined ? "" : ` It says: ${said}`;
  if (status === 404) return new ModelMissingError(`The model server does not have this model.${words}`);
  if (status === 400 || status === 413 || status === 422) {
    return new ApiError("invalid_request", `The model server refuses the request.${words}`);
  }
  if (status === 429 || status === 503) {
    const retryAfter = Number(response.headers["retry-after"]);
    return new ApiError("rate_limit_exceeded", "The model server is busy; try again later.", {
      retryAfterSeconds: Number.isFinite(retryAfter) && retryAfter > 0 ? Math.ceil(retryAfter) : 1,
    });
  }
  if (status === 401 || status === 403) {
    // What it says about the gateway's key is none of the client's business.
    return new ApiError("inference_error", "The model server refuses the gateway's key; check UPSTREAM_API_KEY.");
  }
  return new ApiError("inference_error", `The model server failed with status ${status}.`);
}

async function errorMessage(response: HttpResponse): Promise<string | undefined> {
  try {
    const { error } = await readObject(response);
    const message = typeof error === "string" ? error : asObject(error)["message"];
    return typeof message === "string" ? message.slice(0, 300) : undefined;
  } catch {
    return undefined;
  }
}

async function readObject(response: HttpResponse): Promise<Readonly<Record<string, unknown>>> {
  return asObject(await response.json());
}

/** Whatever a peer sends where an object belongs, as an object. */
function asObject(value: unknown): Readonly<Record<string, unknown>> {
  return value !== null && typeof value === "object" && !Array.isArray(value) ? (value as Record<string, unknown>) : {};
}

function asArray(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
