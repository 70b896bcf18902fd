import { isatty } from "node:tty";
import type { LogDestination } from "./config.ts";

const COLORS: Record<string, string> = {
  trace: "\u001b[90m",
  debug: "\u001b[36m",
  info: "\u001b[32m",
  warn: "\u001b[33m",
  error: "\u001b[31m",
  fatal: "\u001b[1;31m",
};
const DIM = "\u001b[2m";
const RESET = "\u001b[0m";

/**
 * What drives a terminal, ends a line, turns the direction of writing or can't be seen: no value may do that. Controls,
 * formats (bidirectional, zero-width, tags), separators, half pairs, and letters without a shape.
 */
const UNSAFE =
  /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\u115f\u1160\u180e\u2800\u3164\uffa0]|\u034f|\u17b4|\u17b5|[\u180b-\u180d]|\u180f/gu;

/**
 * For people: `time LEVEL message name=value … folder/file.ts:12`, and the stack of an error as an indented block below.
 *
 * It reads the finished JSON line, so that what is hidden, bounded and renamed there is so here. No value can end the
 * line or reach the terminal: control characters are shown as escapes, and a stack's lines are indented.
 */
export function createConsoleFormat(color: boolean): (line: string) => string {
  const paint = (code: string, text: string): string => (color ? `${code}${text}${RESET}` : text);

  return (line) => {
    const { level, time, caller, message, ...fields } = JSON.parse(line) as Record<string, unknown>;
    const word = safe(String(level));
    let out = `${paint(DIM, safe(String(time)))} ${paint(COLORS[word] ?? "", word.toUpperCase().padEnd(5))} ${safe(String(message))}`;
    let block = "";
    for (const [name, value] of Object.entries(fields)) {
      const error = name === "error" ? asError(value) : undefined;
      if (error !== undefined) block = errorBlock(error, "");
      out += ` ${paint(DIM, `${safeName(name)}=`)}${error === undefined ? show(value) : show(summary(error))}`;
    }
    if (typeof caller === "string") out += ` ${paint(DIM, safe(caller))}`;
    return `${out}\n${block}`;
  };
}

/** What Node takes for a wish for colours; the higher levels are of more colours than a log needs. */
const FORCED: ReadonlySet<string> = new Set(["", "1", "true", "2", "3"]);

/**
 * The convention of Node: FORCE_COLOR decides, then NO_COLOR, then whether there is a terminal that can. CI plays no part:
 * what it captures is no terminal, and if it has one, it shows colours.
 */
export function wantsColor(
  option: "auto" | "always" | "never",
  destination: string | number | LogDestination,
  env: Record<string, string | undefined> = process.env,
): boolean {
  if (option !== "auto") return option === "always";
  const force = env["FORCE_COLOR"];
  if (force !== undefined) return FORCED.has(force.toLowerCase());
  if ((env["NO_COLOR"] ?? "") !== "" || (env["NODE_DISABLE_COLORS"] ?? "") !== "") return false;
  if (env["TERM"] === "dumb") return false;
  if (typeof destination === "number") return isatty(destination);
  return typeof destination === "object" && (destination as { isTTY?: unknown }).isTTY === true;
}

interface ShownError {
  type: string;
  message: string;
  stack?: unknown;
  cause?: unknown;
  errors?: unknown;
  [own: string]: unknown;
}

function asError(value: unknown): ShownError | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { type, message } = value as Partial<ShownError>;
  return typeof type === "string" && typeof message === "string" ? (value as ShownError) : undefined;
}

const summary = ({ type, message }: ShownError): string => `${type}: ${message}`;

/** The stack, the error's own fields, and then its causes, each under a heading. */
function errorBlock(error: ShownError, heading: string): string {
  const { type: _type, message: _message, stack, cause, errors, ...own } = error;
  const text = typeof stack === "string" ? stack : summary(error);
  let out = "";
  const lines = text.split("\n");
  lines.forEach((line, index) => {
    out += `    ${index === 0 ? heading : ""}${safe(line)}\n`;
  });
  for (const [name, value] of Object.entries(own)) out += `      ${safeName(name)}=${show(value)}\n`;
  if (Array.isArray(errors)) {
    for (const each of errors) {
      const inner = asError(each);
      out += inner === undefined ? `    one of: ${show(each)}\n` : errorBlock(inner, "one of: ");
    }
  }
  if (cause !== undefined) {
    const inner = asError(cause);
    out += inner === undefined ? `    caused by: ${show(cause)}\n` : errorBlock(inner, "caused by: ");
  }
  return out;
}

/** A plain word as it is, everything else as JSON, so that `a="b c=d"` is one value. */
function show(value: unknown): string {
  if (typeof value === "string" && /^[^\s"'=\\{}[\]]+$/.test(value)) return safe(value);
  return safe(JSON.stringify(value));
}

function safeName(name: string): string {
  return /^[^\s"'=\\]+$/.test(name) ? safe(name) : safe(JSON.stringify(name));
}

function safe(text: string): string {
  return text.replace(UNSAFE, (character) => {
    const code = character.codePointAt(0) as number;
    if (character === "\n") return "\\n";
    if (character === "\r") return "\\r";
    if (character === "\t") return "\\t";
    const digits = code.toString(16).padStart(4, "0");
    return code > 0xffff ? `\\u{${digits}}` : `\\u${digits}`;
  });
}
