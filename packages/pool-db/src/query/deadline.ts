import { LONGEST_DELAY_MS } from "@vg/internal";
import { QueryTimeoutError } from "../errors.ts";
import { leadToCaller } from "./lead-to-caller.ts";

/** The time that a whole transaction has, retries and pauses included. */
export class Deadline {
  readonly #endsAt: number;
  readonly #timer: NodeJS.Timeout | undefined;
  /** Aborted by the caller's signal, or with a `QueryTimeoutError` when the time is up. */
  readonly signal: AbortSignal | undefined;

  constructor(pool: string, signal: AbortSignal | undefined, timeoutMs: number | undefined) {
    this.#endsAt = performance.now() + (timeoutMs ?? Infinity);
    if (timeoutMs === undefined || timeoutMs > LONGEST_DELAY_MS) {
      this.signal = signal;
      return;
    }
    const controller = new AbortController();
    this.#timer = setTimeout(() => {
      controller.abort(
        new QueryTimeoutError(
          pool,
          `the transaction did not end within ${timeoutMs} ms and was rolled back. Raise timeoutMs, or do less in it.`,
          { limitedBy: "timeoutMs", timeoutMs, sent: true },
        ),
      );
    }, timeoutMs);
    this.signal = signal === undefined ? controller.signal : AbortSignal.any([signal, controller.signal]);
  }

  /** What is left, at least 1; `undefined` where there is no limit. */
  get remainingMs(): number | undefined {
    return this.#endsAt === Infinity ? undefined : Math.max(1, Math.ceil(this.#endsAt - performance.now()));
  }

  /** Settles as `work` does, or rejects as soon as the signal is aborted; `work` is left to itself then. */
  async over<T>(work: Promise<T>): Promise<T> {
    const { signal } = this;
    if (signal === undefined) return work;
    let abort = (): void => undefined;
    const aborted = new Promise<never>((_resolve, reject) => {
      abort = () => reject(signal.reason as Error);
      if (signal.aborted) abort();
      else signal.addEventListener("abort", abort, { once: true });
    });
    try {
      return await Promise.race([work, aborted]);
    } catch (error) {
      // Otherwise it is the work's own, and knows where it comes from.
      if (error === signal.reason) leadToCaller(error);
      throw error;
    } finally {
      signal.removeEventListener("abort", abort);
    }
  }

  /** The work has ended. */
  clear(): void {
    clearTimeout(this.#timer);
  }
}
