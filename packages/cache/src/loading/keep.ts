import { checkTtl } from "../arguments.ts";
import type { Lifetime } from "../expiry/lifetimes.ts";
import type { LifeTerms, LoadingTerms } from "../options.ts";
import type { Landed } from "./flight.ts";
import type { LoadContext, LoadOptions } from "./load-options.ts";

/** What a load is to do, as its caller said. */
export interface Order<K, V> {
  readonly options: LoadOptions<K, V>;
  readonly terms: LoadingTerms;
}

/** What a loader said about its value. */
export type Verdict = Pick<LoadContext<unknown, unknown>, "ttlMs" | "sizeBytes" | "store">;

export const NO_VERDICT: Verdict = { ttlMs: undefined, sizeBytes: undefined, store: true };

/** Where loaded values go. */
export interface Keeper<K, V> {
  readonly label: string;
  readonly defaultTtlMs: number;
  readonly defaults: LoadingTerms & LifeTerms;
  /** Stores a value. @throws if the size is none, or the clock gives no time */
  readonly put: (key: K, value: V, sizeBytes: number | undefined, life: Lifetime, ttlJitter: number) => void;
  /** The key's value is obsolete, and there is none to store. */
  readonly drop: (key: K) => void;
}

/** Stores a loaded value as far as it is to be stored; returns what went wrong with that as the `cause`. */
export function keep<K, V>(
  keeper: Keeper<K, V>,
  key: K,
  landed: Landed<V>,
  verdict: Verdict,
  order: Order<K, V>,
): { cause: unknown } | undefined {
  const { options, terms } = order;
  const { put, drop, defaults } = keeper;
  try {
    const ttlMs = verdict.store ? ttlOf(keeper, key, landed, verdict, order) : 0;
    if (ttlMs === 0) {
      drop(key);
      return undefined;
    }
    const life = {
      ttlMs,
      idleMs: options.idleMs ?? defaults.idleMs,
      staleMs: Math.max(terms.staleWhileRevalidateMs, terms.staleIfErrorMs),
      refreshRatio: terms.refreshAheadRatio,
    };
    put(key, landed.value, verdict.sizeBytes ?? options.sizeBytes, life, options.ttlJitter ?? defaults.ttlJitter);
    return undefined;
  } catch (cause) {
    return { cause };
  }
}

/** The TTL to store it with; 0: don't. A value that says "I have expired already" must not get the default. */
function ttlOf<K, V>(
  { label, defaultTtlMs }: Keeper<K, V>,
  key: K,
  { value, isAbsent }: Landed<V>,
  verdict: Verdict,
  { options, terms }: Order<K, V>,
): number {
  let ttlMs: number | undefined = verdict.ttlMs;
  if (ttlMs === undefined) {
    if (isAbsent) ttlMs = terms.negativeTtlMs ?? 0;
    else if (value === undefined || value === null) ttlMs = terms.negativeTtlMs;
  }
  if (ttlMs === undefined) {
    if (typeof options.ttlMs !== "function") return checkTtl(label, options.ttlMs, defaultTtlMs);
    ttlMs = options.ttlMs(value, key);
  }
  return ttlMs !== undefined && ttlMs <= 0 ? 0 : checkTtl(label, ttlMs, defaultTtlMs);
}
