import { LRUCache } from "@vg/cache";

interface Bucket {
  tokens: number;
  at: number;
}

/** How many clients are remembered; beyond it the one unseen for longest starts anew with a full bucket. */
const MAX_CLIENTS = 10_000;

const ROUNDING = 1e-9;

/**
 * A token bucket per client: `perSecond` requests a second on average, and as many at once after a pause.
 * Memory is bounded by the number of clients remembered.
 */
export class RateLimiter {
  /** How many tokens a full bucket holds. */
  readonly burst: number;
  /** What the last `take` left in its client's bucket. */
  tokens = 0;
  readonly #perSecond: number;
  readonly #buckets: LRUCache<string, Bucket>;

  constructor(perSecond: number, clock: { now(): number }) {
    this.burst = Math.max(1, perSecond);
    this.#perSecond = perSecond;
    // What has rested until its bucket is full again need not be remembered.
    const fullMs = (this.burst / perSecond) * 1000;
    this.#buckets = new LRUCache({
      name: "rate-limit",
      capacity: MAX_CLIENTS,
      defaultTtlMs: Infinity,
      defaultIdleMs: Math.max(60_000, fullMs),
      clock,
    });
  }

  /** How many clients are remembered. */
  get clients(): number {
    return this.#buckets.size;
  }

  /** Milliseconds until the bucket of the last `take` is full again. */
  get fullAfterMs(): number {
    return ((this.burst - this.tokens) / this.#perSecond) * 1000;
  }

  /**
   * Takes one token of the client's.
   *
   * @param now by the clock
   * @returns 0, or the milliseconds until there is one
   */
  take(client: string, now: number): number {
    let bucket = this.#buckets.get(client);
    if (bucket === undefined) {
      bucket = { tokens: this.burst, at: now };
      this.#buckets.set(client, bucket);
    } else {
      // A clock that went back gives nothing, and takes nothing.
      const gained = (Math.max(0, now - bucket.at) / 1000) * this.#perSecond;
      bucket.tokens = Math.min(this.burst, bucket.tokens + gained);
      bucket.at = now;
    }
    const missing = 1 - bucket.tokens;
    // Who waited for as long as it was told must not be refused for a rounding.
    const waitMs = missing > ROUNDING ? (missing / this.#perSecond) * 1000 : 0;
    if (waitMs === 0) bucket.tokens = Math.max(0, bucket.tokens - 1);
    this.tokens = bucket.tokens;
    return waitMs;
  }

  close(): void {
    this.#buckets.close();
  }
}
