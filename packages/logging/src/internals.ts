import type { Form } from "./line/form.ts";
import type { Redactor } from "./line/redact.ts";

/**
 * Where the other entries of this package find what a logger doesn't show in public. Registered, so that two copies of
 * the package in one process understand each other; the number changes with the shape of `LoggerInternals`.
 */
export const INTERNALS: unique symbol = Symbol.for("@vg/logging.internals.2");

export interface LoggerInternals {
  readonly redactor: Redactor;
  /** For lines of one kind: what it is filled with is the `fixed` of `event`. */
  form(names: readonly string[]): Form;
  /** A line of a special method, unless the level says no: without a caller. Never throws. */
  event(level: number, message: string, error: unknown, fixed: object, fields: object | undefined): void;
}

/** `undefined` for a logger of another make, and for a proxy of one of ours, which has none of its private parts. */
export function internalsOf(logger: object): LoggerInternals | undefined {
  try {
    return (logger as { readonly [INTERNALS]?: LoggerInternals })[INTERNALS];
  } catch {
    return undefined;
  }
}
