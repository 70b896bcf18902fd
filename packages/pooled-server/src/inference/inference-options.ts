import { checkOptions } from "@vg/internal";
import { PooledServerConfigError } from "../errors.ts";
import { MAX_ANSWER_BYTES } from "./upstream-pieces.ts";
import type { InferenceCacheMode } from "./cacheability.ts";
import { checkPrices, type Prices, type TokenPrice } from "./prices.ts";

/** How inferences are cached and served; see `PooledServerConfig.inference`. */
export interface InferenceOptions {
  /**
   * Reasons to stop after which an answer is stored besides the natural ends: "length", "content_filter", "tool_calls".
   * Default: none. An answer cut at the request's own limit is its whole answer; a tool call's answer may be stale.
   */
  alsoStore?: readonly string[];
  /** The largest answer that is stored, in bytes of JSON; default 1 MiB. */
  maxStoredBytes?: number;
  /** The longest answer that is taken from an upstream, in bytes; the call is ended beyond it. Default 16 MiB. */
  maxAnswerBytes?: number;
  /** Requests that may wait for one call; default 10,000. More are refused with 503. */
  maxWaiters?: number;
  /** How long a client may leave its stream unread before it is cut; default 30,000 ms. */
  stalledClientMs?: number;
  /**
   * What tokens cost in US dollars a million, by model, as the request or the upstream names it; for `saved_cost_usd` and
   * `vg_cache_saved_cost_usd_total`. Models that are not here are not priced. Default: none.
   */
  prices?: Readonly<Record<string, TokenPrice>>;
}

interface Clock {
  now(): number;
}

export interface InferenceSettings {
  readonly mode: InferenceCacheMode;
  readonly alsoStore: ReadonlySet<string>;
  readonly maxStoredBytes: number;
  readonly maxAnswerBytes: number;
  readonly maxWaiters: number;
  readonly stalledClientMs: number;
  readonly prices: Prices;
  readonly clock: Clock;
}

/** @throws PooledServerConfigError */
export function checkInferenceOptions(
  options: InferenceOptions,
  mode: InferenceCacheMode,
  clock: Clock,
): InferenceSettings {
  const check = checkOptions("PooledServer: inference", options, (message) => new PooledServerConfigError(message));
  const alsoStore = check.raw("alsoStore") ?? [];
  if (!Array.isArray(alsoStore) || !alsoStore.every((reason) => typeof reason === "string")) {
    throw check.refuse("alsoStore", 'an array of reasons to stop, such as ["length", "tool_calls"]');
  }
  const settings: InferenceSettings = {
    mode,
    alsoStore: new Set(alsoStore),
    maxStoredBytes: check.integer("maxStoredBytes", { fallback: 1_048_576, min: 1 }),
    maxAnswerBytes: check.integer("maxAnswerBytes", { fallback: MAX_ANSWER_BYTES, min: 1 }),
    maxWaiters: check.integer("maxWaiters", { fallback: 10_000, min: 1 }),
    stalledClientMs: check.durationMs("stalledClientMs", { fallback: 30_000, min: 1 }),
    prices: checkPrices(check.raw("prices") ?? {}),
    clock,
  };
  check.noOthers();
  return settings;
}
