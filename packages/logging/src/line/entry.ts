/** What a log call says besides its level, message and fields; made only where there is something more to say. */
export class Entry {
  /** Set by log calls only; `undefined` says that there is no error. */
  readonly error: unknown;
  /** Fields that a method of ours defines; they keep their names against `fields`. */
  readonly fixed: object | undefined;
  readonly fields: unknown;
  readonly #caller: string | undefined;

  constructor(fields: unknown, error: unknown, caller: string | undefined, fixed?: object) {
    this.fields = fields;
    this.error = error;
    this.#caller = caller;
    this.fixed = fixed;
  }

  get caller(): string | undefined {
    return this.#caller;
  }

  /** Reads no property of what it gets, so that no proxy can object. */
  static is(value: unknown): value is Entry {
    return typeof value === "object" && value !== null && #caller in value;
  }
}
