import type { DeadlineLine, DeadlineLines, Limited } from "./deadline-line.ts";
import type { Failure } from "../failure.ts";

/** What an interruption is called, at the moment when it happens. */
export interface Interrupted {
  deadlinePassed(): Failure;
  signalAborted(reason: unknown): Failure;
}

/**
 * What ends a request from outside: its deadline, the caller's signal, the end of the pool. Whoever waits for something
 * leaves here the one function that ends the wait.
 */
export class Interruption implements Limited {
  /** Why the request as a whole is over, whatever its current attempt says. */
  failure: Failure | undefined;
  deadline = 0;
  previous: Limited | undefined;
  next: Limited | undefined;
  linked = false;
  keepsAlive = false;
  readonly #request: Interrupted;
  readonly #line: DeadlineLine;
  readonly #signal: AbortSignal | undefined;
  #onAbort: (() => void) | undefined;
  #stop: ((failure: Failure) => void) | undefined;

  constructor(request: Interrupted, timeoutMs: number, signal: AbortSignal | undefined, lines: DeadlineLines) {
    this.#request = request;
    this.#line = lines.of(timeoutMs);
    this.#line.add(this, true);
    this.#signal = signal;
    if (signal === undefined) return;
    this.#onAbort = () => this.interrupt(request.signalAborted(signal.reason));
    signal.addEventListener("abort", this.#onAbort, { once: true });
  }

  get happened(): boolean {
    return this.failure !== undefined;
  }

  /** A signal that was aborted before the request began sends no event. */
  begin(): void {
    if (this.#signal?.aborted === true) this.#onAbort?.();
  }

  passDeadline(): void {
    this.interrupt(this.#request.deadlinePassed());
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

  /** Whoever has the response may let the process end before the body begins. */
  letExit(): void {
    this.#line.letExit(this);
  }

  /** The deadline was met; signal and pool may still end a stream. */
  met(): void {
    this.#line.remove(this);
  }

  dispose(): void {
    this.met();
    this.waited();
    if (this.#onAbort !== undefined) this.#signal?.removeEventListener("abort", this.#onAbort);
  }
}
