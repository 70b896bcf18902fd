import type { LoggerConfig } from "./config.ts";
import { createLoggerThatWarns } from "./create-logger.ts";
import { loggerConfigFromEnv } from "./environment.ts";
import type { Logger } from "./logger.ts";

// Two copies of this package in one process share one global logger.
const GLOBAL = Symbol.for("@vg/logging.global");
const shared = globalThis as { [GLOBAL]?: Logger };

/**
 * Makes the logger that LOG_LEVEL, LOG_FORMAT, LOG_TIME_FORMAT and LOG_CALLER describe and installs it as the global
 * one, in place of any before. A value that is not known never throws: the default holds, and one warning line says so.
 *
 * The logger before, and children that were taken from it, stay what they are and go on writing where they wrote. Call
 * this first in `main`, before modules that take a child are loaded, or let those take it when they need it.
 *
 * @param config what the environment does not say, as `destination` or `base`; over what it does say
 * @throws LoggerConfigError, LoggerDestinationError for what is wrong in `config`
 */
export function initGlobalLogger(
  env: Record<string, string | undefined> = process.env,
  config: LoggerConfig = {},
): Logger {
  const { config: fromEnv, warnings } = loggerConfigFromEnv(env);
  // LOG_LEVEL=error must not hide that LOG_FORMAT was not understood.
  const logger = createLoggerThatWarns({ ...fromEnv, ...config }, warnings);
  shared[GLOBAL] = logger;
  return logger;
}

/** The global logger; made from the environment when nobody has made it yet. */
export function getGlobalLogger(): Logger {
  return shared[GLOBAL] ?? initGlobalLogger();
}
