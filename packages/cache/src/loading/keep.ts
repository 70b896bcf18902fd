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

/** How a loaded value is to be stored: a TTL of 0 is "not at all"; or what went wrong with finding that out. */
export type Plan =
  | { readonly ttlMs: number; readonly sizeBytes: number | undefined; readonly cause?: never }
  | { readonly ttlMs?: never; readonly cause: unknown };

/** Asks whoever has a say in it: the loader, the caller, the cache. Their functions may change the cache. */
export function planOf<K, V>(
  keeper: Keeper<K, V>,
  key: K,
  landed: Landed<V>,
  verdict: Verdict,
  order: Order<K, V>,
): Plan {
  try {
    const ttlMs = verdict.store ? ttlOf(keeper, key, landed, verdict, order) : 0;
    return { ttlMs, sizeBytes: verdict.sizeBytes ?? order.options.sizeBytes };
  } catch (cause) {
    return { cause };
  }
}

/** Stores a loaded value as planned; returns what went wrong as the `cause`. */
export function keep<K, V>(
  keeper: Keeper<K, V>,
  key: K,
  value: V,
  plan: Plan,
  { options, terms }: Order<K, V>,
): { cause: unknown } | undefined {
  const { put, drop, defaults } = keeper;
  if (plan.ttlMs === undefined) return { cause: plan.cause };
  try {
    if (plan.ttlMs === 0) {
      drop(key);
      return undefined;
    }
    const life = {
      ttlMs: plan.ttlMs,
      idleMs: options.idleMs ?? defaults.idleMs,
      staleMs: Math.max(terms.staleWhileRevalidateMs, terms.staleIfErrorMs),
      refreshRatio: terms.refreshAheadRatio,
    };
    put(key, value, plan.sizeBytes, life, options.ttlJitter ?? defaults.ttlJitter);
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
  // `null <= 0`, too: whoever has no types gets an error for it.
  return typeof ttlMs === "number" && ttlMs <= 0 ? 0 : checkTtl(label, ttlMs, defaultTtlMs);
}
