/** What `server.inference.getStats()` gives: counters since the start, but for `flights` and `waiters`, which are now. */
export interface InferenceStats {
  /** Completions answered from the cache. */
  readonly hits: number;
  /** Completions that nothing was stored for (or only what was too old) and that made a call. */
  readonly misses: number;
  /** Completions that shared another request's call. */
  readonly collapsed: number;
  /** Completions that did not ask the cache, by the mode or by their own directive. */
  readonly bypassed: number;
  /** hits / (hits + misses + collapsed), 0 to 1; 0 before the first. */
  readonly hit_rate: number;
  /** Answers that were stored. */
  readonly stored: number;
  /** Answers of cacheable requests that were not stored, by the reason. */
  readonly not_stored: Readonly<Record<NotStoredReason, number>>;
  /** Calls that `forward` was made for, embeddings included. */
  readonly upstream_calls: number;
  /** Of these, those that failed. */
  readonly upstream_errors: number;
  /** Calls that were aborted because nobody waited for them any more. */
  readonly upstream_aborts: number;
  /** Calls that another waiter made again, after the one who led had left and the call had failed. */
  readonly promotions: number;
  /** Requests that were refused because too many waited for the same answer. */
  readonly crowded: number;
  /** Clients that were cut because they took nothing of their stream for too long. */
  readonly stalled_clients: number;
  /** Calls in flight, now. */
  readonly flights: number;
  /** Requests that wait for them, now. */
  readonly waiters: number;
  /**
   * What hits and shared calls would have taken, by the upstream's count; of embeddings that were asked for several at a
   * time, each has its part by its length.
   */
  readonly saved_prompt_tokens: number;
  readonly saved_completion_tokens: number;
  /** What these tokens would have cost in US dollars, as far as `inference.prices` has their models. */
  readonly saved_cost_usd: number;
  /** Inputs of embeddings by where their vector came from. */
  readonly embedding_hits: number;
  readonly embedding_misses: number;
  readonly embedding_collapsed: number;
  readonly embedding_bypassed: number;
}

export type NotStoredReason = "finish_reason" | "tool_calls" | "too_large" | "no_store" | "failed" | "abandoned";

/** The counters behind it; plain numbers that the path of a request adds to. */
export type InferenceCounters = {
  -readonly [K in keyof Omit<InferenceStats, "hit_rate" | "flights" | "waiters" | "not_stored">]: number;
} & { readonly not_stored: Record<NotStoredReason, number> };

export function createCounters(): InferenceCounters {
  return {
    hits: 0,
    misses: 0,
    collapsed: 0,
    bypassed: 0,
    stored: 0,
    not_stored: { finish_reason: 0, tool_calls: 0, too_large: 0, no_store: 0, failed: 0, abandoned: 0 },
    upstream_calls: 0,
    upstream_errors: 0,
    upstream_aborts: 0,
    promotions: 0,
    crowded: 0,
    stalled_clients: 0,
    saved_prompt_tokens: 0,
    saved_completion_tokens: 0,
    saved_cost_usd: 0,
    embedding_hits: 0,
    embedding_misses: 0,
    embedding_collapsed: 0,
    embedding_bypassed: 0,
  };
}

export function snapshotOf(counters: InferenceCounters, now: { flights: number; waiters: number }): InferenceStats {
  const asked = counters.hits + counters.misses + counters.collapsed;
  return Object.freeze({
    ...counters,
    ...now,
    hit_rate: asked === 0 ? 0 : counters.hits / asked,
    not_stored: Object.freeze({ ...counters.not_stored }),
  });
}
