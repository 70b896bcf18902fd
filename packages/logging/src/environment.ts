import { describeValue, readEnvironment } from "@vg/internal";
import { CALLER_POLICIES, DEFAULTS, LOG_FORMATS, LOG_TIME_FORMATS, type LoggerConfig } from "./config.ts";
import { LoggerConfigError } from "./errors.ts";
import { LOG_LEVELS } from "./levels.ts";
import { parseLevels } from "./levels/component-levels.ts";
import { createTextScrubber } from "./line/redact-text.ts";

/** More parts of LOG_LEVEL than these are only counted. */
const SHOWN_PARTS = 3;
const scrub = createTextScrubber("[redacted]");
/** A value that landed in the wrong variable may be anything. */
const show = (value: string | undefined): string => describeValue(value === undefined ? value : scrub(value, false));

/**
 * What LOG_LEVEL, LOG_FORMAT, LOG_TIME_FORMAT and LOG_CALLER ask for; unset and blank ones are left to the defaults, and
 * neither case nor spaces around a word matter. LOG_LEVEL may also have levels by component: `info,db=debug`.
 *
 * A service should not fail to start over its logs, so a value that is not known never throws: the default holds (of
 * LOG_LEVEL, the parts that are understood), and `warnings` has one sentence on it, with the variable, the value, what is
 * known and the default. Log them: `initGlobalLogger` does.
 */
export function loggerConfigFromEnv(env: Record<string, string | undefined> = process.env): {
  config: LoggerConfig;
  warnings: string[];
} {
  const warnings: string[] = [];
  const read = readEnvironment(env, (message: string) => new LoggerConfigError(message));

  const oneOf = <const T extends readonly string[]>(name: string, allowed: T, fallback: T[number]): T[number] => {
    try {
      return read.oneOf(name, allowed) ?? fallback;
    } catch (error) {
      if (!(error instanceof LoggerConfigError)) throw error;
      warnings.push(notKnown(name, read.text(name), fallback, allowed));
      return fallback;
    }
  };

  const { level, levels } = readLevels(read.text("LOG_LEVEL") ?? "", warnings);
  const config: LoggerConfig = {
    level,
    ...(Object.keys(levels).length > 0 && { levels }),
    format: oneOf("LOG_FORMAT", LOG_FORMATS, DEFAULTS.format),
    timeFormat: oneOf("LOG_TIME_FORMAT", LOG_TIME_FORMATS, DEFAULTS.timeFormat),
    caller: oneOf("LOG_CALLER", CALLER_POLICIES, DEFAULTS.caller),
  };
  return { config, warnings };
}

function notKnown(name: string, value: string | undefined, fallback: string, allowed: readonly string[]): string {
  return (
    `${name} is ${show(value)}, which is not known: ` +
    `using the default, ${JSON.stringify(fallback)} (known: ${allowed.join(", ")})`
  );
}

function readLevels(text: string, warnings: string[]) {
  const { level = DEFAULTS.level, levels, unknown, replaced } = parseLevels(text);
  const complaints: string[] = [];
  if (unknown.length === 1 && unknown[0] === text && !text.includes("=")) {
    complaints.push(notKnown("LOG_LEVEL", text, DEFAULTS.level, LOG_LEVELS));
  } else if (unknown.length > 0) {
    complaints.push(
      `LOG_LEVEL has ${showParts(unknown)}, which is not known: the rest holds, the level is ${JSON.stringify(level)} ` +
        `(known: a level, or component=level, as in info,db=debug; levels: ${LOG_LEVELS.join(", ")})`,
    );
  }
  if (replaced.length > 0) {
    complaints.push(`LOG_LEVEL says the same more than once: the last holds, not ${showParts(replaced)}`);
  }
  if (complaints.length > 0) warnings.push(complaints.join(". "));
  return { level, levels };
}

function showParts(parts: readonly string[]): string {
  const shown = parts.slice(0, SHOWN_PARTS).map(show).join(", ");
  return parts.length > SHOWN_PARTS ? `${shown} and ${parts.length - SHOWN_PARTS} more` : shown;
}
