/**
 * - `hit`: a stored answer
 * - `miss`: nothing was stored; this request's call made the answer
 * - `collapsed`: the answer of another request's call, which was in flight
 * - `stale`: something was stored, older than this request takes; its own call made the answer
 * - `bypass`: the cache was not asked, for the mode's or the request's sake
 */
export type CacheResult = "hit" | "miss" | "collapsed" | "stale" | "bypass";

export interface CacheOutcome {
  readonly result: CacheResult;
  /** Why a stored answer was not taken, as RFC 9211 has it. */
  readonly forward?: "uri-miss" | "bypass" | "request" | undefined;
  /** Seconds that a hit has still to live. */
  readonly ttlSeconds?: number | undefined;
  /** Seconds since a hit was stored. */
  readonly ageSeconds?: number | undefined;
  /** Whether the answer was stored; undefined as long as that is not decided. */
  readonly stored?: boolean | undefined;
  /** What the upstream answered with, where that is not the status of this answer. */
  readonly forwardStatus?: number | undefined;
  /** Words for whoever looks for a reason; a token. */
  readonly detail?: string | undefined;
}

/** The value of `Cache-Status` (RFC 9211). */
export function cacheStatusText(outcome: CacheOutcome): string {
  const { result, forward, ttlSeconds, stored, forwardStatus, detail } = outcome;
  let text = "vg";
  if (result === "hit") text += "; hit";
  else if (forward !== undefined) text += `; fwd=${forward}`;
  if (forwardStatus !== undefined) text += `; fwd-status=${forwardStatus}`;
  if (ttlSeconds !== undefined) text += `; ttl=${Math.floor(ttlSeconds)}`;
  if (stored === true) text += "; stored";
  if (result === "collapsed") text += "; collapsed";
  if (detail !== undefined) text += `; detail=${detail}`;
  return text;
}

/** The headers that say where an answer comes from. */
export function cacheHeaders(outcome: CacheOutcome): Record<string, string> {
  const { result, ageSeconds } = outcome;
  return {
    "cache-status": cacheStatusText(outcome),
    "x-vg-cache": result,
    ...(ageSeconds === undefined ? {} : { age: String(Math.floor(ageSeconds)) }),
  };
}
