import { describeValue } from "@vg/internal";
import { LoggerConfigError } from "../errors.ts";
import { LOG_LEVELS, type LogLevel } from "../levels.ts";

const LONGEST_NAME = 128;
/** `http`, `http.retry`, `@scope/package`: parts of letters, digits, `_`, `-`, `/`, `@` and `:`, with dots between. */
const NAME = /^[\w@/:-]+(?:\.[\w@/:-]+)*$/;
const NAME_RULE =
  `the dotted name of a component, as "db" or "http.retry" (letters, digits, _, -, /, @, : and dots between parts, ` +
  `${LONGEST_NAME} characters at most)`;

const quoted = (words: readonly string[]): string => words.map((word) => JSON.stringify(word)).join(", ");

/** @throws LoggerConfigError that says what is allowed */
export function checkLevel(owner: string, name: string, value: unknown): LogLevel {
  if (LOG_LEVELS.includes(value as LogLevel)) return value as LogLevel;
  throw new LoggerConfigError(`${owner}: ${name} must be one of ${quoted(LOG_LEVELS)}, got ${describeValue(value)}.`);
}

/** @throws LoggerConfigError that says what is allowed */
export function checkComponent(owner: string, name: string, value: unknown): string {
  if (typeof value === "string" && value.length <= LONGEST_NAME && NAME.test(value)) return value;
  const hint = typeof value === "string" && value.includes("*") ? " It covers what is below it without a *." : "";
  throw new LoggerConfigError(`${owner}: ${name} must be ${NAME_RULE}, got ${describeValue(value)}.${hint}`);
}

/** @throws LoggerConfigError for a name or a level that makes no sense */
export function checkComponentLevels(owner: string, value: unknown): Readonly<Record<string, LogLevel>> {
  if (value === undefined) return {};
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new LoggerConfigError(
      `${owner}: levels must be an object from components to levels, as { db: "debug" }, got ${describeValue(value)}.`,
    );
  }
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, level]) => level !== undefined)
      .map(([name, level]) => {
        const component = checkComponent(owner, "a name in levels", name);
        return [component, checkLevel(owner, `levels[${JSON.stringify(component)}]`, level)];
      }),
  );
}

/** The names that may have a rule for this component, the most specific first; case doesn't matter. */
export function* namesAbove(component: string): Generator<string> {
  let name = componentKey(component);
  for (;;) {
    yield name;
    const end = name.lastIndexOf(".");
    if (end < 0) return;
    name = name.slice(0, end);
  }
}

export const componentKey = (component: string): string => component.toLowerCase();

export interface ParsedLevels {
  /** `undefined`: none was given. */
  readonly level: LogLevel | undefined;
  readonly levels: Readonly<Record<string, LogLevel>>;
  /** The parts that are not understood, as they stand. */
  readonly unknown: readonly string[];
  /** The parts that a later one for the same thing replaces. */
  readonly replaced: readonly string[];
}

/**
 * Reads `info,db=debug,http.retry=trace`: a level, and levels by component. Case and spaces don't matter, nor does an
 * empty part. What is not understood is left out, and the rest holds; of two for the same thing the later holds.
 */
export function parseLevels(text: string): ParsedLevels {
  let level: { word: LogLevel; part: string } | undefined;
  const byComponent = new Map<string, { name: string; word: LogLevel; part: string }>();
  const unknown: string[] = [];
  const replaced: string[] = [];

  for (const part of text.split(",").map((each) => each.trim())) {
    if (part === "") continue;
    const at = part.indexOf("=");
    const word = part
      .slice(at + 1)
      .trim()
      .toLowerCase() as LogLevel;
    const name = at < 0 ? undefined : part.slice(0, at).trim();
    const isName = name === undefined || (name.length <= LONGEST_NAME && NAME.test(name));
    if (!LOG_LEVELS.includes(word) || !isName) {
      unknown.push(part);
    } else if (name === undefined) {
      if (level !== undefined) replaced.push(level.part);
      level = { word, part };
    } else {
      const before = byComponent.get(componentKey(name));
      if (before !== undefined) replaced.push(before.part);
      byComponent.set(componentKey(name), { name, word, part });
    }
  }
  const levels = Object.fromEntries([...byComponent.values()].map(({ name, word }) => [name, word]));
  return { level: level?.word, levels, unknown, replaced };
}
