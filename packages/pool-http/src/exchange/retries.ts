import type { ResolvedOptions } from "../options.ts";
import type { Failure } from "../failure.ts";
import type { Journal } from "./journal.ts";
import type { PreparedRequest } from "./request.ts";
import type { RetryBudgets } from "./retry-budget.ts";
import { retryDelayMs, type RetryCause } from "./retry-policy.ts";

/** How often one request has been sent again, and whether it may be once more. */
export class Retries {
  readonly #options: ResolvedOptions;
  readonly #budgets: RetryBudgets;
  readonly #journal: Journal;
  #retries = 0;
  #resends = 0;
  /** The last attempt met a dead connection: others of its origin are as old. */
  #stale = false;

  constructor({ options, budgets }: { options: ResolvedOptions; budgets: RetryBudgets }, journal: Journal) {
    this.#options = options;
    this.#budgets = budgets;
    this.#journal = journal;
  }

  /** Whether it went over a connection that was dead already, and is repeated at once, at no cost. */
  resend(failure: Failure, cause: RetryCause | undefined): boolean {
    this.#stale = failure.reason === "stale";
    if (!this.#stale || cause === undefined) return false;
    // No more than there can be dead connections; after that, something else is wrong.
    if (this.#resends >= this.#options.maxConnsPerHost) return false;
    this.#resends++;
    this.#journal.resent();
    return true;
  }

  /** Whether the attempt that follows, and no other, needs a connection that nobody has used. */
  takeFresh(): boolean {
    const stale = this.#stale;
    this.#stale = false;
    return stale;
  }

  /** How long to wait before the next retry; `undefined` where there is none left, no time for it, or no budget. */
  delay(request: PreparedRequest, remainingMs: number, retryAfterMs: number | undefined): number | undefined {
    if (this.#retries >= request.maxRetries) return this.#journal.notRetried("max_retries");
    const { retryBaseMs: baseMs, retryCapMs: capMs, random, clock } = this.#options;
    const delay = retryDelayMs(this.#retries, { baseMs, capMs, random, retryAfterMs });
    // Waiting past the deadline would turn an answer into a timeout.
    if (delay >= remainingMs) return this.#journal.notRetried("deadline");
    // Last, for it takes what it finds.
    if (!this.#budgets.withdraw(request.target.origin, clock.now())) return this.#journal.notRetried("budget");
    this.#retries++;
    return delay;
  }
}
