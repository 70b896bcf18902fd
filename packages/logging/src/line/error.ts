import { types } from "node:util";
import { describeReason } from "./reason.ts";

/** The part of ValueWriter that errors need. */
interface Writer<W> {
  text(value: string): string;
  inline(value: unknown): string;
  unreadable(reason: unknown): string;
  value(value: unknown, walk: W): string | undefined;
  members(object: object, walk: W, skip?: ReadonlySet<string>): string;
}

/** Whether this is an error, of this realm or another; a hostile proxy is none. */
export function isError(value: unknown): value is Error {
  try {
    return types.isNativeError(value) || value instanceof Error;
  } catch {
    return false;
  }
}

/** Properties that have a place of their own, or that aren't enumerable, so that `members` can't be left to find them. */
const OWN_PLACE: ReadonlySet<string> = new Set([
  "name",
  "type",
  "field.type",
  "message",
  "stack",
  "code",
  "cause",
  "errors",
  "error",
  "suppressed",
]);

/** Of an error's own fields `type`, `field.type`, `field.field.type` and so on. */
const MOST_MOVED = 4;

/**
 * An error as `{type, message, stack, code?, …its own fields, errors?, error?, suppressed?, cause?}`. Nothing is written
 * to it, so frozen ones will do. A property that throws is shown as the words that it threw.
 */
export function writeError<W>(error: Error, writer: Writer<W>, walk: W): string {
  const own = (name: string): unknown => {
    try {
      return (error as unknown as Record<string, unknown>)[name];
    } catch (reason) {
      return `[unreadable: ${describeReason(reason)}]`;
    }
  };
  const has = (name: string): boolean => {
    try {
      return Object.hasOwn(error, name);
    } catch {
      return false;
    }
  };
  // What should be a text is shown as one, whatever it is.
  const asText = (value: unknown): string | undefined =>
    value === undefined
      ? undefined
      : writer.value(typeof value === "string" ? value : value === null ? "null" : writer.inline(value), walk);

  let out = `"type":${writer.text(typeOf(error))},"message":${asText(own("message")) ?? '""'}`;
  const add = (name: string, text: string | undefined): void => {
    if (text !== undefined) out += `,"${name}":${text}`;
  };
  add("stack", asText(own("stack")));
  add("code", writer.value(own("code"), walk));
  let placed = OWN_PLACE;
  if (!has("type") && has("field.type")) add("field.type", writer.value(own("field.type"), walk));
  // Some parsers give their errors a `type` of their own. Where it is moved to, there may be something as well.
  let from = "type";
  // A proxy has whatever it is asked for.
  for (let moved = 0; moved < MOST_MOVED && has(from); moved++) {
    if (!placed.has(from)) placed = new Set(placed).add(from);
    const to = `field.${from}`;
    add(to, writer.value(own(from), walk));
    from = to;
  }
  try {
    out += writer.members(error, walk, placed);
  } catch (reason) {
    add("[its fields]", writer.unreadable(reason));
  }
  // Of an AggregateError, and of a SuppressedError: what went wrong, and what had gone wrong before.
  add("errors", writer.value(own("errors"), walk));
  for (const name of ["error", "suppressed"]) if (has(name)) add(name, writer.value(own(name), walk));
  add("cause", writer.value(own("cause"), walk));
  return `{${out}}`;
}

/** The name that says most: `name` where it was set, else the class. */
function typeOf(error: Error): string {
  try {
    const name: unknown = error.name;
    if (typeof name === "string" && name !== "" && name !== "Error") return name;
    const constructor: unknown = error.constructor;
    const called: unknown = typeof constructor === "function" ? constructor.name : "";
    return typeof called === "string" && called !== "" ? called : "Error";
  } catch {
    return "Error";
  }
}
