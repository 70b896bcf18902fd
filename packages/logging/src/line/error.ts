import { types } from "node:util";
import { describeReason } from "./reason.ts";

/** The part of ValueWriter that errors need. */
interface Writer<W> {
  text(value: string): string;
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

const OWN_PLACE: ReadonlySet<string> = new Set(["name", "type", "message", "stack", "code", "cause", "errors"]);

/**
 * An error as `{type, message, stack, code?, …its own fields, errors?, cause?}`. Nothing is written to it, so frozen
 * ones will do. A property that throws is shown as the words that it threw.
 */
export function writeError<W>(error: Error, writer: Writer<W>, walk: W): string {
  const own = (name: string): unknown => {
    try {
      return (error as unknown as Record<string, unknown>)[name];
    } catch (reason) {
      return `[unreadable: ${describeReason(reason)}]`;
    }
  };
  const asText = (value: unknown): string | undefined =>
    value === undefined ? undefined : writer.value(typeof value === "string" ? value : describeReason(value), walk);

  let out = `"type":${writer.text(typeOf(error))},"message":${asText(own("message")) ?? '""'}`;
  const add = (name: string, text: string | undefined): void => {
    if (text !== undefined) out += `,"${name}":${text}`;
  };
  add("stack", asText(own("stack")));
  add("code", writer.value(own("code"), walk));
  // Some parsers give their errors a `type` of their own.
  if (Object.hasOwn(error, "type")) add("field.type", writer.value(own("type"), walk));
  out += writer.members(error, walk, OWN_PLACE);
  // An AggregateError's list is not enumerable, so `members` can't be left to find it.
  add("errors", writer.value(own("errors"), walk));
  add("cause", writer.value(own("cause"), walk));
  return `{${out}}`;
}

/** The name that says most: `name` where it was set, else the class. */
function typeOf(error: Error): string {
  try {
    const name: unknown = error.name;
    if (typeof name === "string" && name !== "" && name !== "Error") return name;
    const constructor: unknown = error.constructor;
    return typeof constructor === "function" && constructor.name !== "" ? constructor.name : "Error";
  } catch {
    return "Error";
  }
}
