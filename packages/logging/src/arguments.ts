import { LEVEL_NUMBERS } from "./levels.ts";
import { isError } from "./line/error.ts";
import { formatMessage } from "./message.ts";

export interface SortedArguments {
  /** `undefined`: the error's own. */
  message: string | undefined;
  /** The message before its placeholders were filled in, where it had any. */
  template?: string;
  /** `undefined`: none. */
  error: unknown;
  /** Fields that come before `fields`, where two objects were given. */
  fixed: object | undefined;
  fields: unknown;
}

/**
 * Tells the orders of arguments apart; see LogMethod. Whatever the order, an error among them is the error, the first
 * text is the message, and nothing that was given is lost.
 *
 * @param show a value as text, for the placeholders of a message
 */
export function sortArguments(
  level: number,
  a: unknown,
  b: unknown,
  c: unknown,
  show: (value: unknown) => string,
): SortedArguments {
  const error = [a, b, c].find(isError);
  // pino's order, where what follows the message goes into it, is told by what comes first.
  if (typeof b === "string" && typeof a !== "string" && !isError(a) && c !== undefined) {
    const isPlain = c === error && !b.includes("%");
    const message = isPlain ? b : formatMessage(b, [c], show);
    return { message, template: b, error, fixed: undefined, fields: a };
  }
  if (typeof a === "string" && error === undefined && b !== undefined && b !== null) {
    // Anything can be thrown. With a third argument, or where an error is to be expected, it is one.
    const isThrown = c !== undefined || (typeof b !== "object" && level >= LEVEL_NUMBERS.error);
    if (isThrown) return { message: a, error: b, fixed: undefined, fields: c };
  }

  let message: string | undefined;
  const rest: unknown[] = [];
  let isErrorTaken = false;
  for (const argument of [a, b, c]) {
    if (argument === undefined || argument === null) continue;
    if (argument === error && !isErrorTaken) isErrorTaken = true;
    else if (message === undefined && typeof argument === "string") message = argument;
    else rest.push(argument);
  }
  // A number, a function: not what the types allow, but something was meant to be said.
  if (message === undefined && rest.length > 0 && typeof rest[0] !== "object")
    message = formatMessage("%s", rest.splice(0, 1), show);
  const [first, second] = rest;
  if (typeof first === "object" && first !== null && second !== undefined)
    return { message, error, fixed: first, fields: second };
  return { message, error, fixed: undefined, fields: first };
}
