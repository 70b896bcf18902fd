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

/** A message, fields that the line must have (compared as JSON, deeply), or a test of your own. */
export type LineMatch = string | Readonly<Record<string, unknown>> | ((line: CapturedLine) => boolean);

export interface CapturedLogs {
  readonly logger: Logger;
  /** Every line so far, oldest first. */
  readonly lines: readonly CapturedLine[];
  /** The first line that matches. */
  find(match: LineMatch): CapturedLine | undefined;
  /** All lines that match. */
  filter(match: LineMatch): CapturedLine[];
  /** Forgets the lines. */
  clear(): void;
}

/**
 * A real logger whose lines are kept instead of written, for tests: they pass through the same serialiser, redaction and
 * limits. The level is `"trace"` unless `config` says otherwise.
 *
 * @throws LoggerConfigError as `createLogger` does
 */
export function captureLogs(config: Omit<LoggerConfig, "destination" | "format" | "color"> = {}): CapturedLogs {
  const lines: CapturedLine[] = [];
  const destination = { write: (line: string): number => lines.push(JSON.parse(line) as CapturedLine) };
  const logger = createLogger({ level: "trace", ...config, format: "json", destination });
  return {
    logger,
    lines,
    find: (match) => lines.find((line) => matches(line, match)),
    filter: (match) => lines.filter((line) => matches(line, match)),
    clear: () => {
      lines.length = 0;
    },
  };
}

function matches(line: CapturedLine, match: LineMatch): boolean {
  if (typeof match === "string") return line.message === match;
  if (typeof match === "function") return match(line);
  return contains(line, match);
}

/** Whether `actual` has all that `expected` has; arrays and plain values must be equal. */
function contains(actual: unknown, expected: unknown): boolean {
  if (typeof expected !== "object" || expected === null) return Object.is(actual, expected);
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
