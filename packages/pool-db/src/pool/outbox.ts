/**
 * Events that wait until the pool's state is whole. A listener may call the pool: were it told in the middle of a
 * change, it could take a connection that is about to be closed.
 */
export class Outbox {
  readonly #events: (() => void)[] = [];
  #delivering = false;

  post(event: () => void): void {
    this.#events.push(event);
  }

  /** Runs what was posted, in its order; what a listener causes comes last. */
  deliver(): void {
    if (this.#delivering || this.#events.length === 0) return;
    this.#delivering = true;
    for (let event = this.#events.shift(); event !== undefined; event = this.#events.shift()) tell(event);
    this.#delivering = false;
  }
}

/** Runs a listener. What it throws is reported as an uncaught error, and is nobody else's. */
export function tell(event: () => void): void {
  try {
    event();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}
