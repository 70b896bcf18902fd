/**
 * How long to wait before the next attempt: exponential backoff with full jitter, a random point between 0 and
 * `min(capMs, baseMs * 2^attempt)`. `attempt` counts from 0. Full jitter spreads a crowd of clients that failed
 * together better than any fixed or "equal" jitter (M. Brooker, "Exponential Backoff And Jitter", AWS, 2015).
 */
export function fullJitterDelay(
  attempt: number,
  { baseMs, capMs, random = Math.random }: { baseMs: number; capMs: number; random?: () => number },
): number {
  // 2^attempt overflows to Infinity for absurd attempts; min() keeps that harmless.
  return random() * Math.min(capMs, baseMs * 2 ** attempt);
}
