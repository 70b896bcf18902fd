import type { RateLimiter } from "./rate-limiter.ts";

/** The name of the one policy that there is, as a string of Structured Fields. */
const POLICY = '"default"';

/**
 * Tells a client what is left of its rate, on every answer: `RateLimit-Policy` and `RateLimit` of the IETF's draft
 * (draft-ietf-httpapi-ratelimit-headers, as of its versions 08 to 11: quota `q` in a window of `w` seconds; `r` are left,
 * and after `t` seconds the quota is whole again), and the `x-ratelimit-*-requests` that OpenAI's clients know.
 */
export class RateLimitHeaders {
  readonly #policy: string;
  readonly #limit: string;

  constructor({ burst, perSecond }: { burst: number; perSecond: number }) {
    this.#limit = String(Math.floor(burst));
    const windowSeconds = Math.max(1, Math.round(burst / perSecond));
    this.#policy = `${POLICY};q=${this.#limit};w=${windowSeconds}`;
  }

  /** Adds names and values, of the client that the limiter was last asked for. */
  addTo(headers: string[], limiter: RateLimiter): void {
    const left = String(Math.max(0, Math.floor(limiter.tokens)));
    const fullAfterMs = limiter.fullAfterMs;
    headers.push(
      "ratelimit-policy",
      this.#policy,
      "ratelimit",
      `${POLICY};r=${left};t=${Math.ceil(fullAfterMs / 1000)}`,
    );
    headers.push("x-ratelimit-limit-requests", this.#limit, "x-ratelimit-remaining-requests", left);
    headers.push("x-ratelimit-reset-requests", durationText(fullAfterMs));
  }
}

/** "250ms", "1.5s": as Go prints durations, and OpenAI its resets. */
function durationText(ms: number): string {
  const whole = Math.ceil(ms);
  return whole < 1000 ? `${whole}ms` : `${whole / 1000}s`;
}
