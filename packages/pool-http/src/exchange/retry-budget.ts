/**
 * A limit on retries, so that clients do not multiply the load of a server that fails under it. After Finagle's
 * RetryBudget: of the requests to an origin in the last 10 s, a share may be retried, and a reserve on top, which is
 * all that an origin with little traffic has. Requests and retries alike are forgotten 10 s later.
 *
 * A retry is paid for when it is decided on, before its backoff, or a crowd of waiting retries would come out of
 * nothing. Every retry counts, those whose request never left, too: dials are what a server that restarts has least of.
 * A resend over a fresh connection, in place of one that was dead, is none: there are no more of these than connections.
 */
export interface RetryBudgetSettings {
  /** Retries for each request, such as 0.2. */
  readonly ratio: number;
  readonly minPerSecond: number;
}

const SLOTS = 10;
const SLOT_MS = 1000;
const WINDOW_MS = SLOTS * SLOT_MS;
/** 0.1 * 3 is a little more than 0.3. */
const ROUNDING = 1e-9;
/** With more origins than this, those that are out of the window go. */
const SWEEP_ABOVE = 100;

/** Of one origin. Time goes by whole seconds: the window is the present one and the nine before it. */
export class RetryBudget {
  readonly #settings: RetryBudgetSettings;
  /** A ring, by second. */
  readonly #requests = new Uint32Array(SLOTS);
  readonly #retries = new Uint32Array(SLOTS);
  /** Their sums. */
  #requestCount = 0;
  #retryCount = 0;
  /** The latest second. */
  #second = -Infinity;
  #slot = 0;

  constructor(settings: RetryBudgetSettings) {
    this.#settings = settings;
  }

  /** A request was made. */
  deposit(now: number): void {
    this.#advance(now);
    this.#requests[this.#slot] = (this.#requests[this.#slot] as number) + 1;
    this.#requestCount++;
  }

  /** Takes one retry, if there is one left. */
  withdraw(now: number): boolean {
    if (this.left(now) < 1) return false;
    this.#retries[this.#slot] = (this.#retries[this.#slot] as number) + 1;
    this.#retryCount++;
    return true;
  }

  /** How many retries are left. */
  left(now: number): number {
    this.#advance(now);
    const { ratio, minPerSecond } = this.#settings;
    const earned = ratio * this.#requestCount + (minPerSecond * WINDOW_MS) / 1000;
    return Math.max(0, Math.floor(earned - this.#retryCount + ROUNDING));
  }

  /** It holds nothing that a new one would not. */
  isForgotten(now: number): boolean {
    return now >= (this.#second + SLOTS) * SLOT_MS;
  }

  #advance(now: number): void {
    const second = Math.floor(now / SLOT_MS);
    if (second <= this.#second) return;
    for (let passed = Math.min(SLOTS, second - this.#second); passed > 0; passed--) {
      this.#slot = (this.#slot + 1) % SLOTS;
      this.#requestCount -= this.#requests[this.#slot] as number;
      this.#retryCount -= this.#retries[this.#slot] as number;
      this.#requests[this.#slot] = 0;
      this.#retries[this.#slot] = 0;
    }
    this.#second = second;
  }
}

/** Those of all origins of a pool. `false` limits nothing. */
export class RetryBudgets {
  readonly #settings: RetryBudgetSettings | false;
  readonly #budgets = new Map<string, RetryBudget>();
  #sweepAbove = SWEEP_ABOVE;

  constructor(settings: RetryBudgetSettings | false) {
    this.#settings = settings;
  }

  /** How many origins it keeps. */
  get size(): number {
    return this.#budgets.size;
  }

  deposit(origin: string, now: number): void {
    if (this.#settings !== false) this.#of(origin, this.#settings, now).deposit(now);
  }

  withdraw(origin: string, now: number): boolean {
    return this.#settings === false || this.#of(origin, this.#settings, now).withdraw(now);
  }

  /** How many retries are left; null where there is no limit. */
  left(origin: string, now: number): number | null {
    if (this.#settings === false) return null;
    return (this.#budgets.get(origin) ?? new RetryBudget(this.#settings)).left(now);
  }

  /** For errors. */
  describe(): string {
    if (this.#settings === false) return "retryBudget: false";
    const { ratio, minPerSecond } = this.#settings;
    return `retryBudget: ${Math.round(ratio * 1000) / 10} % of the requests to this origin and ${minPerSecond} a second, over 10 s`;
  }

  #of(origin: string, settings: RetryBudgetSettings, now: number): RetryBudget {
    let budget = this.#budgets.get(origin);
    if (budget === undefined) {
      budget = new RetryBudget(settings);
      if (this.#budgets.size >= this.#sweepAbove) this.#sweep(now);
      this.#budgets.set(origin, budget);
    }
    return budget;
  }

  #sweep(now: number): void {
    for (const [origin, budget] of this.#budgets) if (budget.isForgotten(now)) this.#budgets.delete(origin);
    // So that the work of sweeping stays in proportion to the origins that come.
    this.#sweepAbove = Math.max(SWEEP_ABOVE, 2 * this.#budgets.size);
  }
}
