import { AssertionError } from "node:assert";
import type { LoggerConfig } from "./config.ts";
import { createLogger } from "./create-logger.ts";
import type { LogLevel } from "./levels.ts";
import type { Logger } from "./logger.ts";

/** A line as its readers get it. */
export interface CapturedLine {
  readonly level: Exclude<LogLevel, "silent">;
  readonly time: string | number;
  readonly message: string;
  readonly caller?: string;
  readonly error?: { readonly type: string; readonly message: string; readonly [field: string]: unknown };
  readonly [field: string]: unknown;
}

/**
 * A message, or a pattern of it; fields that the line must have, `level` and `message` among them; or a test of your own.
 *
 * Fields are compared as JSON, deeply; a line may have more of them. In the place of a value may stand a RegExp for a
 * text, a function that says whether the value is right, or a matcher of your test runner, as `expect.any(Number)`.
 */
export type LineMatch = string | RegExp | Readonly<Record<string, unknown>> | ((line: CapturedLine) => boolean);

export interface CapturedLogs {
  readonly logger: Logger;
  /** Every line so far, oldest first. */
  readonly lines: readonly CapturedLine[];
  /** The first line that matches. */
  find(match: LineMatch): CapturedLine | undefined;
  /** All lines that match. */
  filter(match: LineMatch): CapturedLine[];
  /**
   * The one line that matches.
   * @throws AssertionError (of node:assert) where there is none or more than one, with the lines that there are
   */
  expectOne(match: LineMatch): CapturedLine;
  /** @throws AssertionError (of node:assert) where a line matches, with the lines that do */
  expectNone(match: LineMatch): void;
  /** Forgets the lines. */
  clear(): void;
}

/**
 * A real logger whose lines are kept instead of written, for tests: they pass through the same serialiser, redaction,
 * context, sampling and limits. The level is `"trace"` unless `config` says otherwise. It needs no test runner.
 *
 * @throws LoggerConfigError as `createLogger` does
 */
export function captureLogs(config: Omit<LoggerConfig, "destination" | "format" | "color"> = {}): CapturedLogs {
  const lines: CapturedLine[] = [];
  const destination = { write: (line: string): number => lines.push(JSON.parse(line) as CapturedLine) };
  const logger = createLogger({ level: "trace", ...config, format: "json", destination });
  const filter = (match: LineMatch): CapturedLine[] => lines.filter((line) => matches(line, match));

  const expectOne = (match: LineMatch): CapturedLine => {
    const found = filter(match);
    const [first] = found;
    if (first !== undefined && found.length === 1) return first;
    const message =
      first === undefined
        ? `No line matches ${describeMatch(match)}. ${listLines("The lines were", nearestFirst(lines, match))}`
        : `${found.length} lines match ${describeMatch(match)}, not one. ${listLines("They are", found)}`;
    throw new AssertionError({
      message,
      actual: found,
      expected: [match],
      operator: "expectOne",
      stackStartFn: expectOne,
    });
  };

  const expectNone = (match: LineMatch): void => {
    const found = filter(match);
    if (found.length === 0) return;
    const count = found.length === 1 ? "A line matches" : `${found.length} lines match`;
    const message = `${count} ${describeMatch(match)}, and none should. ${listLines("They are", found)}`;
    throw new AssertionError({
      message,
      actual: found,
      expected: [],
      operator: "expectNone",
      stackStartFn: expectNone,
    });
  };

  return {
    logger,
    lines,
    find: (match) => lines.find((line) => matches(line, match)),
    filter,
    expectOne,
    expectNone,
    clear: () => {
      lines.length = 0;
    },
  };
}

function matches(line: CapturedLine, match: LineMatch): boolean {
  if (typeof match === "string") return line.message === match;
  if (match instanceof RegExp) return contains(line.message, match);
  if (typeof match === "function") return match(line);
  return contains(line, match);
}

/** Whether `actual` has all that `expected` has; arrays and plain values must be equal. */
function contains(actual: unknown, expected: unknown): boolean {
  // A RegExp with the flag g or y would go on from where it was.
  if (expected instanceof RegExp) return typeof actual === "string" && new RegExp(expected).test(actual);
  if (typeof expected === "function") return Boolean((expected as (value: unknown) => unknown)(actual));
  if (typeof expected !== "object" || expected === null) return Object.is(actual, expected);
  const { asymmetricMatch } = expected as { asymmetricMatch?: unknown };
  if (typeof asymmetricMatch === "function") return Boolean(asymmetricMatch.call(expected, actual));
  if (typeof actual !== "object" || actual === null) return false;
  if (Array.isArray(expected)) {
    return (
      Array.isArray(actual) &&
      actual.length === expected.length &&
      expected.every((each, index) => contains(actual[index], each))
    );
  }
  return Object.entries(expected).every(([name, value]) => contains((actual as Record<string, unknown>)[name], value));
}

const SHOWN_LINES = 10;

function describeMatch(match: LineMatch): string {
  if (match instanceof RegExp) return String(match);
  if (typeof match === "function") return `the test ${match.name === "" ? "that was given" : match.name}`;
  return JSON.stringify(match, (_, value: unknown) =>
    typeof value === "function" || value instanceof RegExp ? String(value) : value,
  );
}

function listLines(heading: string, lines: readonly CapturedLine[]): string {
  if (lines.length === 0) return "There were no lines.";
  const shown = lines.slice(0, SHOWN_LINES).map((line) => `\n  ${JSON.stringify(line).slice(0, 500)}`);
  const others = lines.length > SHOWN_LINES ? `\n  and ${lines.length - SHOWN_LINES} more` : "";
  return `${heading}:${shown.join("")}${others}`;
}

/** The lines that have more of what was looked for come first. */
function nearestFirst(lines: readonly CapturedLine[], match: LineMatch): readonly CapturedLine[] {
  if (typeof match !== "object" || match instanceof RegExp) return lines;
  const wanted = Object.entries(match);
  const score = (line: CapturedLine): number => wanted.filter(([name, value]) => contains(line[name], value)).length;
  return lines.toSorted((a, b) => score(b) - score(a));
}
