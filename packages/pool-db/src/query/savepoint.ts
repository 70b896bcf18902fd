/** What a savepoint needs of its transaction. */
interface Owner {
  /** Takes it, and those that were made after it, out of the open ones; throws when it is none of them. */
  end(what: string): void;
  isOpen(): boolean;
  run(text: string): Promise<void>;
}

export function releaseStatement(name: string): string {
  return `RELEASE SAVEPOINT ${name}`;
}

/** A savepoint outlives a rollback to it, so it is released as well. */
export function rollbackStatement(name: string): string {
  return `ROLLBACK TO SAVEPOINT ${name}; ${releaseStatement(name)}`;
}

/**
 * A point within a transaction. It ends once, with `release()`, with `rollback()`, or when one that was made before it
 * ends. Leaving an `await using` block without either rolls back to it.
 */
export class Savepoint {
  readonly name: string;
  readonly #owner: Owner;

  /** @internal Use `tx.savepoint()`. */
  constructor(name: string, owner: Owner) {
    this.name = name;
    this.#owner = owner;
  }

  /** Keeps what happened since; it becomes part of the transaction. */
  async release(): Promise<void> {
    this.#owner.end("release()");
    await this.#owner.run(releaseStatement(this.name));
  }

  /** Undoes what happened since, failed statements included; the transaction goes on. */
  async rollback(): Promise<void> {
    this.#owner.end("rollback()");
    await this.#owner.run(rollbackStatement(this.name));
  }

  /** Rolls back to it, unless it or the transaction has ended. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#owner.isOpen()) await this.rollback();
  }
}
