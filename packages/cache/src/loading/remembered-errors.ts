import type { Clock } from "../options.ts";

interface Remembered {
  readonly error: unknown;
  readonly until: number;
}

/** The errors of loads, by key, for as long as their keys are not to be loaded again; of so many keys at most. */
export class RememberedErrors<K> {
  readonly #errors = new Map<K, Remembered>();
  readonly #clock: Clock;
  readonly #limit: number;

  constructor(clock: Clock, limit: number) {
    this.#clock = clock;
    this.#limit = limit;
  }

  /** Undefined: there is none, and the key may be loaded. */
  find(key: K): { readonly error: unknown } | undefined {
    const found = this.#errors.get(key);
    if (found === undefined || found.until > this.#clock.now()) return found;
    this.#errors.delete(key);
    return undefined;
  }

  remember(key: K, error: unknown, ttlMs: number): void {
    // At the end of the Map's order, which is the order of age.
    this.#errors.delete(key);
    const now = this.#clock.now();
    // Two of the oldest for each new one: what is over goes, and with equal times none of those ever lies behind others.
    let looks = 2;
    for (const [old, { until }] of this.#errors) {
      if (looks-- === 0 || (until > now && this.#errors.size < this.#limit)) break;
      this.#errors.delete(old);
    }
    this.#errors.set(key, { error, until: now + ttlMs });
  }

  forget(key: K): void {
    this.#errors.delete(key);
  }

  clear(): void {
    this.#errors.clear();
  }
}
