import { describeValue, readEnvironment } from "@vg/internal";
import { CALLER_POLICIES, DEFAULTS, LOG_FORMATS, LOG_TIME_FORMATS, type LoggerConfig } from "./config.ts";
import { LoggerConfigError } from "./errors.ts";
import { LOG_LEVELS } from "./levels.ts";

/**
 * What LOG_LEVEL, LOG_FORMAT, LOG_TIME_FORMAT and LOG_CALLER ask for; unset and blank ones are left to the defaults.
 *
 * A service should not fail to start over its logs, so a value that is not known never throws: the default holds, and
 * `warnings` has one sentence on it, with the variable, the value and the default. Log them: `initGlobalLogger` does.
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
      warnings.push(
        `${name} is ${describeValue(read.text(name))}, which is not known: ` +
          `using the default, ${JSON.stringify(fallback)} (known: ${allowed.join(", ")})`,
      );
      return fallback;
    }
  };

  const config: LoggerConfig = {
    level: oneOf("LOG_LEVEL", LOG_LEVELS, DEFAULTS.level),
    format: oneOf("LOG_FORMAT", LOG_FORMATS, DEFAULTS.format),
    timeFormat: oneOf("LOG_TIME_FORMAT", LOG_TIME_FORMATS, DEFAULTS.timeFormat),
    caller: oneOf("LOG_CALLER", CALLER_POLICIES, DEFAULTS.caller),
  };
  return { config, warnings };
}
