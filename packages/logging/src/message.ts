import { format } from "node:util";
import { isError } from "./line/error.ts";

/** The message as a text: the one that was given, else the error's, else pino's `msg`. */
export function messageOf(text: unknown, error: unknown, fields: unknown): string {
  if (typeof text === "string") return text;
  try {
    if (text !== undefined && text !== null) return format(text);
    if (isError(error)) return format(error.message);
    if (isError(fields)) return format(fields.message);
    if (typeof fields !== "object" || fields === null) return "";
    const { error: named, err, msg } = fields as Record<string, unknown>;
    if (isError(named)) return format(named.message);
    if (isError(err)) return format(err.message);
    return typeof msg === "string" ? msg : "";
  } catch {
    return "";
  }
}

/** What pino makes of its arguments: an object first or not at all, then a message with `%s` and what goes into it. */
export function fromPinoArguments(
  args: readonly unknown[],
  show: (value: unknown) => string,
): { fields: unknown; message: string | undefined } {
  const [first, ...others] = args;
  const [fields, message, ...values] = typeof first === "object" ? args : [undefined, first, ...others];
  if (message === undefined || message === null) return { fields, message: undefined };
  return { fields, message: formatMessage(messageOf(message, undefined, undefined), values, show) };
}

/** `%s` and its like, filled in; as it is where a value objects. `show` gives the text of an object, without secrets. */
export function formatMessage(message: string, values: readonly unknown[], show: (value: unknown) => string): string {
  if (values.length === 0) return message;
  try {
    const texts = values.map((value) => (typeof value === "object" && value !== null ? show(value) : value));
    // An object is a text by now, which %o would put into quotes.
    return format(
      message.replace(/%[%oOj]/g, (placeholder) => (placeholder === "%%" ? "%%" : "%s")),
      ...texts,
    );
  } catch {
    return message;
  }
}
