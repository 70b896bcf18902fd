import type { Bindings } from "./line/bindings.ts";

/** The function on the stack that the caller of a line called. */
export type Border = (...args: never[]) => unknown;

/**
 * Decides whether a line of an enabled level is written. Must not throw.
 *
 * @param template the message before its placeholders are filled in; `undefined` where it is the error's own
 * @param carried the fields of the context and of the logger
 * @returns what the line carries, `carried` as a rule; `undefined`: it is not written
 */
export type Gate = (level: number, template: string | undefined, carried: Bindings) => Bindings | undefined;

/**
 * What a line carries: the fields of the context that the call was made in, and the logger's own, of which a name
 * that both have is the logger's. Should give the same object for the same context and logger. Must not throw.
 */
export type Ambient = (own: Bindings) => Bindings;

/** What every line passes; `undefined` costs one look. Shared by a logger and its children, and may change at any time. */
export interface LineHooks {
  gate: Gate | undefined;
  /** For the gate, of the line that comes next: its message, where placeholders in it have been filled in. */
  template: string | undefined;
  ambient: Ambient | undefined;
}
