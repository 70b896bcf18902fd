/**
 * Embeddings are cached input by input: a list is answered from the cache and from calls that are in flight as far as
 * that goes, and the rest is asked for in one call, each input once.
 */
import type { LRUCache } from "@vg/cache";
import { embeddingKeys } from "./cache-key.ts";
import { isCacheable } from "./cacheability.ts";
import { cacheHeaders, cacheStatusText, type CacheOutcome, type CacheResult } from "./cache-status.ts";
import { resolvedBody, scopeOf, type Forward, type InferenceRequest } from "./inference-request.ts";
import { directivesFromBody, mergeDirectives, type InferenceDirectives } from "./directives.ts";
import { InferenceNotCachedError } from "./inference-error.ts";
import type { InferenceMeter, Work } from "./inference-meter.ts";
import type { InferenceSettings } from "./inference-options.ts";
import type { InferenceCounters } from "./inference-stats.ts";
import { isObject, without, type JsonObject } from "./json.ts";
import { discard, upstreamDocument } from "./upstream-pieces.ts";
import { encodeVector, encodingOf, inputsOf, vectorsOf, type EmbeddingInput, type Vector } from "./vectors.ts";

/** What the embedding cache holds. Its fields are public because the cache weighs a value by what it can see. */
class StoredVector {
  readonly vector: Vector;
  /** The upstream's own name of the model. */
  readonly model: string;
  /** Its part of what its call took. */
  readonly tokens: number;
  readonly storedAt: number;

  constructor(vector: Vector, model: string, tokens: number, storedAt: number) {
    this.vector = vector;
    this.model = model;
    this.tokens = tokens;
    this.storedAt = storedAt;
  }
}

/** The vectors of a request, in the order of its inputs. */
export class EmbeddingAnswer {
  readonly vectors: readonly Vector[];
  /** The upstream's name of the model. */
  readonly model: string;
  /** What the upstream counted for the inputs that this request had it asked for; 0 where there were none. */
  readonly promptTokens: number;
  /** How many of the inputs came from the cache. */
  readonly hits: number;
  readonly #body: JsonObject;
  readonly #outcome: CacheOutcome;

  constructor(
    fields: { vectors: readonly Vector[]; model: string; promptTokens: number; hits: number },
    body: JsonObject,
    outcome: CacheOutcome,
  ) {
    this.vectors = fields.vectors;
    this.model = fields.model;
    this.promptTokens = fields.promptTokens;
    this.hits = fields.hits;
    this.#body = body;
    this.#outcome = outcome;
  }

  /** `hit` where all came from the cache, `miss` where a call was made for any. */
  get cache(): CacheResult {
    return this.#outcome.result;
  }

  get cacheStatus(): string {
    return cacheStatusText(this.#outcome);
  }

  get headers(): Record<string, string> {
    return cacheHeaders(this.#outcome);
  }

  /** OpenAI's document, in the encoding that the request asks for. */
  document(): JsonObject {
    const encoding = encodingOf(this.#body);
    const data = this.vectors.map((vector, index) => ({
      object: "embedding",
      index,
      embedding: encodeVector(vector, encoding),
    }));
    const usage = { prompt_tokens: this.promptTokens, total_tokens: this.promptTokens };
    return { object: "list", data, model: this.model, usage };
  }
}

const OWN_FIELDS: ReadonlySet<string> = new Set(["cache"]);

/** One request on its way. */
interface Order {
  readonly request: InferenceRequest;
  readonly forward: Forward;
  readonly signal: AbortSignal | undefined;
  /** The inputs by their keys, each once. */
  readonly inputs: ReadonlyMap<string, EmbeddingInput>;
  readonly work: Work;
  /** The keys that its own calls asked for. */
  readonly own: Set<string>;
  promptTokens: number;
  asked: number;
  /** What it is where it takes nothing that is stored; else that is known at its end. */
  forced: CacheResult | undefined;
  /** What its own call failed with. */
  failure: unknown;
}

/** How often a request that shares others' calls begins anew where these fail. */
const MAX_TRIES = 3;

export class Embeddings {
  readonly #cache: LRUCache<string, unknown>;
  readonly #settings: InferenceSettings;
  readonly #counters: InferenceCounters;
  readonly #meter: InferenceMeter;

  constructor(
    cache: LRUCache<string, unknown>,
    settings: InferenceSettings,
    counters: InferenceCounters,
    meter: InferenceMeter,
  ) {
    this.#cache = cache;
    this.#settings = settings;
    this.#counters = counters;
    this.#meter = meter;
  }

  async embed(request: InferenceRequest, forward: Forward, signal: AbortSignal | undefined): Promise<EmbeddingAnswer> {
    signal?.throwIfAborted();
    const startedAt = this.#meter.now();
    const { body } = request;
    const list = inputsOf(body);
    encodingOf(body);
    const directives = mergeDirectives(request.directives ?? {}, directivesFromBody(body));
    const resolved = resolvedBody(request);
    const scope = scopeOf(request, resolved, directives);
    const keyOf = embeddingKeys(scope, resolved);
    const keys = list.map((input) => keyOf(input));
    const inputs = new Map(keys.map((key, i) => [key, list[i] as EmbeddingInput]));
    const order: Order = {
      request: { ...request, body: resolved },
      forward,
      signal,
      inputs,
      work: { operation: "embeddings", model: scope.model },
      own: new Set(),
      promptTokens: 0,
      asked: 0,
      forced: undefined,
      failure: undefined,
    };
    const gathered = await this.#gather(order, directives).catch((error: unknown) => {
      // Who has left is not told any more, and what asked for the cache alone was no inference.
      if (signal?.aborted !== true && !(error instanceof InferenceNotCachedError)) {
        const result = order.forced ?? (order.asked > 0 ? "miss" : "collapsed");
        this.#meter.requestEnded(order.work, result, startedAt, { error });
      }
      throw error;
    });
    const { found, hits, outcome } = gathered;
    this.#meter.requestEnded(order.work, outcome.result, startedAt);
    const stored = keys.map((key) => found.get(key) as StoredVector);
    const hitKeys = keys.filter((key) => hits.has(key)).length;
    return new EmbeddingAnswer(
      {
        vectors: stored.map(({ vector }) => vector),
        model: stored[0]?.model ?? scope.model,
        promptTokens: order.promptTokens,
        hits: hitKeys,
      },
      body,
      outcome,
    );
  }

  async #gather(
    order: Order,
    directives: InferenceDirectives,
  ): Promise<{ found: ReadonlyMap<string, StoredVector>; hits: ReadonlySet<string>; outcome: CacheOutcome }> {
    const { noCache = false, noStore = false, onlyIfCached = false } = directives;
    const all = [...order.inputs.keys()];
    // The same text has the same vector: every mode but opt-in may keep it.
    if (!isCacheable(this.#settings.mode, true, directives)) {
      if (onlyIfCached) throw new InferenceNotCachedError();
      this.#counters.embedding_bypassed += all.length;
      order.forced = "bypass";
      const found = await this.#ask(order, all, order.signal);
      return { found, hits: new Set(), outcome: { result: "bypass", forward: "bypass" } };
    }
    const ages = new Map(all.map((key) => [key, noCache ? undefined : this.#usable(key, directives)]));
    const hits = new Set(all.filter((key) => typeof ages.get(key) === "number"));
    if (onlyIfCached && hits.size < all.length) throw new InferenceNotCachedError();
    // What is stored and may not be served needs a call of this request's own; the rest may share others' calls.
    const refused = all.filter((key) => noCache || ages.get(key) === "too old");
    if (refused.length > 0) order.forced = noCache ? "bypass" : "stale";
    const shared = refused.length === 0 ? all : all.filter((key) => !refused.includes(key));
    const ttlMs = noStore ? 0 : directives.ttlSeconds === undefined ? undefined : directives.ttlSeconds * 1000;
    const ttlLeft = Math.min(...[...hits].map((key) => this.#cache.getRemainingTtlMs(key) ?? Infinity)) / 1000;
    const [joined, own] = await Promise.all([
      this.#share(order, shared, ttlMs),
      refused.length === 0 ? new Map<string, StoredVector>() : this.#refresh(order, refused, ttlMs),
    ]);
    const collapsed = Math.max(0, shared.length - hits.size - (order.asked - refused.length));
    this.#counters.embedding_hits += hits.size;
    this.#counters.embedding_misses += order.asked;
    this.#counters.embedding_collapsed += collapsed;
    this.#saved(order, joined);
    const outcome: CacheOutcome =
      hits.size === all.length
        ? {
            result: "hit",
            ageSeconds: Math.max(...[...ages.values()].map(Number)),
            ttlSeconds: Number.isFinite(ttlLeft) ? ttlLeft : undefined,
          }
        : order.forced !== undefined
          ? { result: order.forced, forward: "request", stored: ttlMs !== 0 }
          : order.asked > 0
            ? { result: "miss", forward: "uri-miss", stored: ttlMs !== 0 }
            : { result: "collapsed", forward: "uri-miss" };
    return { found: new Map([...joined, ...own]), hits, outcome };
  }

  /** What came from the cache, or from others' calls, has taken nothing. */
  #saved({ own, work }: Order, found: ReadonlyMap<string, StoredVector>): void {
    for (const [key, { tokens, model }] of found) {
      if (own.has(key)) continue;
      this.#counters.saved_prompt_tokens += tokens;
      const names = [work.model, model];
      this.#counters.saved_cost_usd += this.#settings.prices.costUsd(names, { prompt: tokens, completion: 0 });
    }
  }

  /** How old what is stored is, in seconds; "too old" where this request does not take it. */
  #usable(key: string, { maxAgeSeconds, minFreshSeconds = 0 }: InferenceDirectives): number | "too old" | undefined {
    const stored = this.#cache.peek(key);
    if (stored === undefined) return undefined;
    // Others may use this cache, too (or have loaded a dump of it); what is not ours is asked for again.
    if (!(stored instanceof StoredVector)) return "too old";
    const age = Math.max(0, (this.#settings.clock.now() - stored.storedAt) / 1000);
    const left = (this.#cache.getRemainingTtlMs(key) ?? Infinity) / 1000;
    const tooOld = maxAgeSeconds !== undefined && (age > maxAgeSeconds || maxAgeSeconds === 0);
    return tooOld || left < minFreshSeconds ? "too old" : age;
  }

  /** From the cache, from calls in flight, and the rest by one call. */
  async #share(
    order: Order,
    keys: readonly string[],
    ttlMs: number | undefined,
  ): Promise<ReadonlyMap<string, StoredVector>> {
    if (keys.length === 0) return new Map();
    for (let tries = 1; ; tries++) {
      try {
        const found = await this.#cache.getManyOrLoad(
          keys,
          async (context) => await this.#ask(order, context.keys, context.signal),
          // 0 is "do not store it" only as the word of a function.
          { signal: order.signal, ttlMs: () => ttlMs },
        );
        return found as ReadonlyMap<string, StoredVector>;
      } catch (error) {
        // A call of somebody else's may have failed for an input that is not among these.
        const isOwn = order.failure === error || order.signal?.aborted === true;
        if (isOwn || tries === MAX_TRIES) throw error;
      }
    }
  }

  async #refresh(
    order: Order,
    keys: readonly string[],
    ttlMs: number | undefined,
  ): Promise<ReadonlyMap<string, StoredVector>> {
    const found = await this.#ask(order, keys, order.signal);
    if (ttlMs !== 0) for (const [key, stored] of found) this.#cache.set(key, stored, { ttlMs });
    return found;
  }

  async #ask(
    order: Order,
    keys: readonly string[],
    signal: AbortSignal = new AbortController().signal,
  ): Promise<Map<string, StoredVector>> {
    const { request, forward } = order;
    const list = keys.map((key) => order.inputs.get(key) as EmbeddingInput);
    // A single text stays one: there are servers that know no lists.
    const { input } = request.body;
    const lone = list.length === 1 && !(Array.isArray(input) && typeof list[0] === "string");
    const body = { ...without(request.body, OWN_FIELDS), input: lone ? list[0] : list };
    order.asked += keys.length;
    for (const key of keys) order.own.add(key);
    this.#counters.upstream_calls++;
    const call = this.#meter.callBegun(order.work);
    try {
      const forwarded = await forward({ body, stream: false, signal, traceparent: request.traceparent });
      if (signal.aborted) {
        await discard(forwarded);
        throw signal.reason;
      }
      const document = await upstreamDocument(forwarded, this.#settings.maxAnswerBytes);
      const vectors = vectorsOf(document, list.length);
      const promptTokens = promptTokensOf(document);
      order.promptTokens += promptTokens ?? 0;
      this.#meter.callSucceeded(call, promptTokens === undefined ? undefined : { prompt: promptTokens, completion: 0 });
      const model = nameOf(document) === "" ? nameOf(request.body) : nameOf(document);
      const now = this.#settings.clock.now();
      // The count is the whole call's: each input has its part of it, by its length.
      const perUnit = (promptTokens ?? 0) / list.reduce((sum, { length }) => sum + length, 0);
      const tokensOf = (i: number): number => Math.round((list[i] as EmbeddingInput).length * perUnit || 0);
      return new Map(keys.map((key, i) => [key, new StoredVector(vectors[i] as Vector, model, tokensOf(i), now)]));
    } catch (error) {
      order.failure = error;
      this.#meter.callFailed(call, error, signal.aborted);
      if (signal.aborted) this.#counters.upstream_aborts++;
      else this.#counters.upstream_errors++;
      throw error;
    }
  }
}

function nameOf({ model }: JsonObject): string {
  return typeof model === "string" ? model : "";
}

/** Undefined where the upstream does not say. */
function promptTokensOf({ usage }: JsonObject): number | undefined {
  const counted = isObject(usage) ? usage["prompt_tokens"] : undefined;
  return typeof counted === "number" && Number.isInteger(counted) && counted >= 0 ? counted : undefined;
}
