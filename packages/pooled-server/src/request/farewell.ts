/**
 * The two signals by which a shutdown tells a request to end by itself, before it aborts the request's work. Made where
 * somebody asks for one of them.
 */
export class Farewell {
  readonly #draining = new AbortController();
  readonly #lastCall = new AbortController();
  /** Why, once either of them has aborted. */
  reason: Error | undefined;

  get draining(): AbortSignal {
    return this.#draining.signal;
  }

  get lastCall(): AbortSignal {
    return this.#lastCall.signal;
  }

  drain(reason: Error): void {
    this.reason ??= reason;
    this.#draining.abort(reason);
  }

  callLast(reason: Error): void {
    this.reason ??= reason;
    this.#draining.abort(reason);
    this.#lastCall.abort(reason);
  }
}
