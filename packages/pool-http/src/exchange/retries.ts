import type { ResolvedOptions } from "../options.ts";
import type { Failure } from "../failure.ts";
import type { Journal } from "./journal.ts";
import type { PreparedRequest } from "./request.ts";
import type { RetryBudgets } from "./retry-budget.ts";
import {
  forbiddenBy,
  retryAfterOf,
  retryCauseOfFailure,
  retryCauseOfStatus,
  retryDelayMs,
  type RetryCause,
} from "./retry-policy.ts";

/** A retry that was decided on, and paid for. */
export interface Retry {
  readonly cause: RetryCause;
  /** How long to wait before it. */
  readonly delayMs: number;
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
}

/** How often one request has been sent again, and whether it is once more: what, when, and at whose cost. */
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

  /** What follows an answer whose status may be retried; `undefined`: it is handed out. */
  afterAnswer(request: PreparedRequest, { status, headers }: Answer, remainingMs: number): Retry | undefined {
    const cause = retryCauseOfStatus(request, status);
    if (cause === undefined) return this.#forbidden(request, status);
    return this.#retry(request, cause, remainingMs, retryAfterOf(headers, Date.now()));
  }

  /** What follows a failure; `undefined`: the request fails. */
  afterFailure(request: PreparedRequest, failure: Failure, remainingMs: number): Retry | "resend" | undefined {
    const cause = retryCauseOfFailure(request, failure);
    this.#stale = failure.reason === "stale";
    if (cause === undefined) return this.#forbidden(request, failure);
    return this.#resend() ? "resend" : this.#retry(request, cause, remainingMs);
  }

  /** Whether the attempt that follows, and no other, needs a connection that nobody has used. */
  takeFresh(): boolean {
    const stale = this.#stale;
    this.#stale = false;
    return stale;
  }

  /** Whether it went over a connection that was dead already, and is repeated at once, at no cost. */
  #resend(): boolean {
    // No more than there can be dead connections; after that, something else is wrong.
    if (!this.#stale || this.#resends >= this.#options.maxConnsPerHost) return false;
    this.#resends++;
    this.#journal.resent();
    return true;
  }

  #forbidden(request: PreparedRequest, outcome: number | Failure): undefined {
    const why = forbiddenBy(request, outcome);
    if (why !== undefined) this.#journal.notRetried(why);
  }

  /** `undefined` where there is none left, no time for it, or no budget. */
  #retry(request: PreparedRequest, cause: RetryCause, remainingMs: number, retryAfterMs?: number): Retry | undefined {
    if (this.#retries >= request.maxRetries) return this.#journal.notRetried("max_retries");
    const { retryBaseMs: baseMs, retryCapMs: capMs, random, clock } = this.#options;
    const delayMs = retryDelayMs(this.#retries, { baseMs, capMs, random, retryAfterMs });
    // Waiting past the deadline would turn an answer into a timeout.
    if (delayMs >= remainingMs) return this.#journal.notRetried("deadline");
    // Last, for it takes what it finds.
    if (!this.#budgets.withdraw(request.target.origin, clock.now())) return this.#journal.notRetried("budget");
    this.#retries++;
    return { cause, delayMs };
  }
}
