import type { Logger as PinoLogger } from "pino";
import type { Bindings } from "./line/bindings.ts";

/** The function on the stack that the caller of a line called. */
export type Border = (...args: never[]) => unknown;

/**
 * Decides whether a line of an enabled level is written. Must not throw.
 *
 * @param instance the logger's pino instance, which is a child of the root's
 * @param message `undefined` where it is the error's own
 * @param border for `callerOf`; `undefined` for the special methods
 * @returns below 0: the line is not written. Else how many like it were left out before, shown as `log.suppressed`.
 */
export type Gate = (
  instance: PinoLogger,
  level: number,
  message: string | undefined,
  border: Border | undefined,
) => number;

/**
 * What a line carries: the fields of the context that the call was made in, and the logger's own, of which a name
 * that both have is the logger's. Should give the same object for the same context and logger. Must not throw.
 */
export type Ambient = (own: Bindings) => Bindings;

/** What every line passes; `undefined` costs one look. Shared by a logger and its children, and may change at any time. */
export interface LineHooks {
  gate: Gate | undefined;
  ambient: Ambient | undefined;
}
