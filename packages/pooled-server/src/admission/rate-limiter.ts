import { LRUCache } from "@vg/cache";

interface Bucket {
  tokens: number;
  at: number;
}

/** How many clients are remembered; beyond it the one unseen for longest starts anew with a full bucket. */
const MAX_CLIENTS = 10_000;

/**
 * A token bucket per client: `perSecond` requests a second on average, and as many at once after a pause.
 * Memory is bounded by the number of clients remembered.
 */
export class RateLimiter {
  readonly #perSecond: number;
  readonly #buckets: LRUCache<string, Bucket>;
  readonly #clock: { now(): number };

  constructor(perSecond: number, clock: { now(): number }) {
    this.#perSecond = perSecond;
    this.#clock = clock;
    // A bucket refills completely within a second: what rests longer need not be remembered.
    this.#buckets = new LRUCache({ name: "rate-limit", capacity: MAX_CLIENTS, defaultTtlMs: 60_000, clock });
  }

  /** Takes one token of the client's. Returns 0, or the milliseconds until there is one. */
  take(client: string): number {
    const now = this.#clock.now();
    const burst = Math.max(1, this.#perSecond);
    const bucket = this.#buckets.get(client) ?? { tokens: burst, at: now };
    bucket.tokens = Math.min(burst, bucket.tokens + ((now - bucket.at) / 1000) * this.#perSecond);
    bucket.at = now;
    this.#buckets.set(client, bucket);
    if (bucket.tokens < 1) return ((1 - bucket.tokens) / this.#perSecond) * 1000;
    bucket.tokens--;
    return 0;
  }

  close(): void {
    this.#buckets.close();
  }
}
