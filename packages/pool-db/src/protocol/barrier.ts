import type pg from "pg";

/**
 * Stands in a client's queue like a query: behind the one that runs, before any that comes later. When it is its turn it
 * keeps the client busy until it is opened, and then sends one statement. `done` is called once, with the error where
 * that failed or the connection was lost.
 */
export class Barrier implements pg.Submittable {
  readonly #statement: () => string;
  readonly #done: (error?: Error) => void;
  #connection: pg.Connection | undefined;
  #open = false;

  /** `statement` is asked for the text when it is sent. */
  constructor(statement: () => string, done: (error?: Error) => void) {
    this.#statement = statement;
    this.#done = done;
  }

  /** Whether everything before it has been answered. */
  get reached(): boolean {
    return this.#connection !== undefined;
  }

  open(): void {
    this.#open = true;
    this.#send();
  }

  /** Takes an `open()` back; call it only while it is not reached. */
  shut(): void {
    this.#open = false;
  }

  /** Called by pg, as all that follows. */
  submit(connection: pg.Connection): void {
    this.#connection = connection;
    this.#send();
  }

  handleReadyForQuery(): void {
    this.#done();
  }

  handleError(error: Error): void {
    this.#done(error);
  }

  handleEmptyQuery(): void {}
  handleCommandComplete(): void {}

  #send(): void {
    if (this.#open) this.#connection?.query(this.#statement());
  }
}
