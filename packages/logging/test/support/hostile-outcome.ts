/** What came of a hostile value, told from the very bytes that a logger wrote. */
import { duplicateKeys } from "./duplicate-keys.ts";
import type { HostileCase } from "./hostile-cases.ts";

/** More than any collector of logs takes as one line. */
const LONGEST_LINE = 262_144;
/** The names under which the loggers have what a case is about. */
const MESSAGES = ["message", "msg"];
const TIMES = ["time", "timestamp", "@timestamp"];
const ERRORS = ["error", "err"];

export interface Ending {
  /** What was written, to standard output and standard error. */
  readonly text: string;
  /** What the log call threw. */
  readonly threw?: string | undefined;
  /** The process did not come to its end: it took too long, or died. */
  readonly ended?: "hangs" | "dies" | undefined;
}

export const GOOD: ReadonlySet<string> = new Set(["whole", "cut", "hidden"]);

/** In a word or two. The first that is true of these counts: the worst comes first. */
export function outcomeOf(one: HostileCase, { text, threw, ended }: Ending): string {
  if (ended !== undefined) return ended;
  if (threw !== undefined) return "throws";
  if (text === "") return "line lost";
  if (!text.endsWith("\n")) return "no end of line";
  const body = text.slice(0, -1);
  if (one.as === "console")
    return one.whole?.(body) === true ? "whole" : body.includes("\n") ? "line forged" : "reaches the terminal";
  const lines = body.split("\n");
  if (lines.length > 1) return `${lines.length} lines`;
  let line: Record<string, unknown>;
  try {
    line = JSON.parse(body) as Record<string, unknown>;
  } catch {
    return "invalid JSON";
  }
  if (body.length > LONGEST_LINE) return `${(body.length / 1e6).toFixed(1)} MB`;
  if (duplicateKeys(body).length > 0 || isForged(line)) return "forged";
  if (body.includes("\u2028")) return "two lines to some readers";
  if (one.secret !== undefined) return body.includes(one.secret) ? "secret shown" : "hidden";
  if (one.isHuge === true) return "cut";
  const shown = shownOf(one, line);
  if (one.whole?.(shown) === true) return "whole";
  if (shown === undefined) return "field lost";
  if (isNothing(shown)) return "`null`";
  if (isEmpty(shown)) return `\`${JSON.stringify(shown)}\``;
  return "in part";
}

/** What a field may not have changed: the level, and that the time is one of now. */
function isForged(line: Record<string, unknown>): boolean {
  if (!["info", "error", "INFO", "ERROR", 30, 50].includes(line["level"] as string)) return true;
  const time = TIMES.map((name) => line[name]).find((value) => value !== undefined);
  if (time === undefined) return true;
  const year = new Date(time as string | number).getFullYear();
  if (!(year >= 2020)) return true;
  const messages = MESSAGES.map((name) => line[name]).filter((value) => value !== undefined);
  return messages.length > 0 && messages.every((value) => value === "forged");
}

function shownOf(one: HostileCase, line: Record<string, unknown>): unknown {
  const properties = Object(line["properties"]) as Record<string, unknown>;
  if (one.as === "fields") return { ...line, ...properties };
  if (one.as === "message") return line["message"] ?? line["msg"];
  if (one.as === undefined) return "value" in line ? line["value"] : properties["value"];
  const error = [...ERRORS.map((name) => line[name]), ...ERRORS.map((name) => properties[name])].find(
    (value) => value !== undefined,
  );
  // Some have the error's parts among the fields of the line.
  return error ?? ("stack" in line ? line : undefined);
}

const isNothing = (shown: unknown): boolean =>
  shown === null || (Array.isArray(shown) && shown.length > 0 && shown.every((value) => value === null));

const isEmpty = (shown: unknown): boolean =>
  typeof shown === "object" && shown !== null && Object.keys(shown).length === 0;
