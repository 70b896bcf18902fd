import type { Failure } from "./failure.ts";

/**
 * What ends a request from outside: its deadline, the caller's signal, the end of the pool. Whoever waits for something
 * leaves here the one function that ends the wait.
 */
export class Interruption {
  /** Why the request as a whole is over, whatever its current attempt says. */
  failure: Failure | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #deadlineTimer: NodeJS.Timeout;
  readonly #aborted: () => void;
  #stop: ((failure: Failure) => void) | undefined;

  constructor(limits: {
    timeoutMs: number;
    signal: AbortSignal | undefined;
    /** What to call it, at the moment when it happens. */
    onDeadline: () => Failure;
    onAbort: (reason: unknown) => Failure;
  }) {
    const { timeoutMs, signal, onDeadline, onAbort } = limits;
    this.#signal = signal;
    this.#deadlineTimer = setTimeout(() => this.interrupt(onDeadline()), timeoutMs);
    this.#aborted = () => this.interrupt(onAbort(signal?.reason));
    signal?.addEventListener("abort", this.#aborted, { once: true });
  }

  /** A signal that was aborted before the request began sends no event. */
  begin(): void {
    if (this.#signal?.aborted === true) this.#aborted();
  }

  /** The first one counts. */
  interrupt(failure: Failure): void {
    if (this.failure !== undefined) return;
    this.failure = failure;
    this.#stop?.(failure);
  }

  /** Names what ends the wait that begins now; an interruption that came in between ends it at once. */
  stopWith(stop: (failure: Failure) => void): void {
    this.#stop = stop;
    if (this.failure !== undefined) stop(this.failure);
  }

  /** Ends the wait that is going on, and not the request. */
  stop(failure: Failure): void {
    this.#stop?.(failure);
  }

  /** The wait is over. */
  waited(): void {
    this.#stop = undefined;
  }

  /** The deadline was met; signal and pool may still end a stream. */
  met(): void {
    clearTimeout(this.#deadlineTimer);
  }

  dispose(): void {
    this.met();
    this.waited();
    this.#signal?.removeEventListener("abort", this.#aborted);
  }
}
