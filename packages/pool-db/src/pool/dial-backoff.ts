import { fullJitterDelay } from "@vg/internal";

const BACKOFF = { baseMs: 25, capMs: 1_000 };

/** When the next dial may begin: at once, unless the last ones failed. */
export class DialBackoff {
  readonly #random: () => number;
  #failures = 0;
  #nextAt = -Infinity;
  #lastError: unknown = undefined;

  constructor(random: () => number) {
    this.#random = random;
  }

  /** Whether the last dial failed. */
  get failing(): boolean {
    return this.#failures > 0;
  }

  get nextAt(): number {
    return this.#nextAt;
  }

  /** Why the last dial failed; `undefined` when it did not. */
  get lastError(): unknown {
    return this.#lastError;
  }

  succeeded(): void {
    this.#failures = 0;
    this.#nextAt = -Infinity;
    this.#lastError = undefined;
  }

  failed(error: unknown, now: number): void {
    this.#lastError = error;
    this.#nextAt = now + fullJitterDelay(this.#failures++, { ...BACKOFF, random: this.#random });
  }
}
