export { createLogger } from "./create-logger.ts";
export type { ChildOptions, Fields, Logger, LoggerStats, LogMethod, TraceContext } from "./logger.ts";
export { getGlobalLogger, initGlobalLogger } from "./global-logger.ts";
export { loggerConfigFromEnv } from "./environment.ts";
export type {
  CallerPolicy,
  Clock,
  LogDestination,
  LogFormat,
  LoggerConfig,
  LogTimeFormat,
  RedactOptions,
} from "./config.ts";
export type { LogLevel } from "./levels.ts";
export { LoggerConfigError, LoggerDestinationError, LoggerError } from "./errors.ts";
