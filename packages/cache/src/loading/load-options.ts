import type { LoadingTerms, SetOptions } from "../options.ts";

/** What a loader is given. */
export interface LoadContext<K, V> {
  readonly key: K;
  /** Aborts when the last caller that waited for this load has left, or its time is over. */
  readonly signal: AbortSignal;
  /** What is stored under the key, if it is refreshed or kept: return `previous.value` for "it still holds". */
  readonly previous: { readonly value: V } | undefined;
  /** Set it: the TTL of this value, before any of the call's options; 0 or less: don't store it. */
  ttlMs: number | undefined;
  /** Set it: the bytes to count for this value, before any of the call's options. */
  sizeBytes: number | undefined;
  /** Set it to false: those who wait get the value, but it is not stored. */
  store: boolean;
}

export type Loader<K, V> = (context: LoadContext<K, V>) => V | Promise<V>;

/** What the loader of several keys is given. */
export interface BatchContext<K> {
  /** All different, in the order in which they were asked for. */
  readonly keys: readonly K[];
  /** Aborts when the last caller that waited for any of these keys has left, or its time is over. */
  readonly signal: AbortSignal;
}

/** Gives values by key (a key that is missing has none), or one for each key, in their order. */
export type BatchLoader<K, V> = (
  context: BatchContext<K>,
) => ReadonlyMap<K, V> | readonly V[] | Promise<ReadonlyMap<K, V> | readonly V[]>;

/** Left out: as the cache was made. The options of the caller that starts a load decide about it. */
export interface LoadOptions<K, V> extends Omit<SetOptions, "ttlMs"> {
  /** As in `SetOptions`, or a function of the loaded value: undefined means the default, 0 or less "don't store it". */
  ttlMs?: number | ((value: V, key: K) => number | undefined) | undefined;
  /** Lets this caller leave: its promise rejects with the signal's reason; the load goes on for the others. */
  signal?: AbortSignal | undefined;
  /** These as for the cache. */
  staleWhileRevalidateMs?: number | undefined;
  staleIfErrorMs?: number | undefined;
  refreshAheadRatio?: number | undefined;
  negativeTtlMs?: number | undefined;
  errorTtlMs?: number | undefined;
  loadTimeoutMs?: number | undefined;
}

/** For a caller that says nothing. One object, so that it need not be checked. */
export const NO_OPTIONS: { readonly ttlMs?: undefined } = Object.freeze({});

/** The terms of one load: its options, else the cache's. */
export function termsOf<K, V>(options: LoadOptions<K, V>, defaults: LoadingTerms): LoadingTerms {
  return {
    staleWhileRevalidateMs: options.staleWhileRevalidateMs ?? defaults.staleWhileRevalidateMs,
    staleIfErrorMs: options.staleIfErrorMs ?? defaults.staleIfErrorMs,
    refreshAheadRatio: options.refreshAheadRatio ?? defaults.refreshAheadRatio,
    refreshBackoffMs: defaults.refreshBackoffMs,
    negativeTtlMs: options.negativeTtlMs ?? defaults.negativeTtlMs,
    errorTtlMs: options.errorTtlMs ?? defaults.errorTtlMs,
    loadTimeoutMs: options.loadTimeoutMs ?? defaults.loadTimeoutMs,
  };
}
