import { format } from "node:util";
import { isError } from "./line/error.ts";

type Show = (value: unknown) => string;

/**
 * The message as a text: the one that was given, else the error's, else pino's `msg`.
 *
 * @param show gives the text of an object, without its secrets
 */
export function messageOf(text: unknown, error: unknown, fields: unknown, show: Show): string {
  const shown = (value: unknown): string => (typeof value === "object" && value !== null ? show(value) : format(value));
  if (typeof text === "string") return text;
  try {
    if (text !== undefined && text !== null) return shown(text);
    if (isError(error)) return shown(error.message);
    if (isError(fields)) return shown(fields.message);
    if (typeof fields !== "object" || fields === null) return "";
    const { error: named, err, msg } = fields as Record<string, unknown>;
    if (isError(named)) return shown(named.message);
    if (isError(err)) return shown(err.message);
    return typeof msg === "string" ? msg : "";
  } catch {
    return "";
  }
}

/** What pino makes of its arguments: an object first or not at all, then a message with `%s` and what goes into it. */
export function fromPinoArguments(
  args: readonly unknown[],
  show: Show,
): { fields: unknown; message: string | undefined } {
  const [first, ...others] = args;
  const [fields, message, ...values] = typeof first === "object" ? args : [undefined, first, ...others];
  if (message === undefined || message === null) return { fields, message: undefined };
  return { fields, message: formatMessage(messageOf(message, undefined, undefined, show), values, show) };
}

/** `%s` and its like, filled in; as it is where a value objects. `show` gives the text of an object, without secrets. */
export function formatMessage(message: string, values: readonly unknown[], show: Show): string {
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
