export { createLogger } from "./create-logger.ts";
export type { ChildOptions, Fields, Logger, LoggerStats, LogMethod, Wrapper } from "./logger.ts";
export { currentContext, runInContext, withContext } from "./context/ambient.ts";
export type { AmbientContext } from "./context/ambient.ts";
export { activeSpanContext } from "./context/open-telemetry.ts";
export { fromTraceparent, newTraceContext, toTraceparent } from "./context/trace-context.ts";
export type { SpanContext, TraceContext } from "./context/trace-context.ts";
export { hideSecrets } from "./hide-secrets.ts";
export { getGlobalLogger, initGlobalLogger } from "./global-logger.ts";
export { loggerConfigFromEnv } from "./environment.ts";
export type { LevelChange, LevelOptions } from "./levels/level-control.ts";
export type { RateLimitOptions, SamplingOptions } from "./volume/options.ts";
export type {
  CallerPolicy,
  Clock,
  LevelSignal,
  LogDestination,
  LogFormat,
  LoggerConfig,
  LogTimeFormat,
  RedactOptions,
} from "./config.ts";
export type { FlushOptions } from "./destination.ts";
export type { BufferOptions } from "./destination/buffering.ts";
export type { FlushReport } from "./destination/sink.ts";
export type { LogDroppedMessage } from "./diagnostics.ts";
export type { LogLevel } from "./levels.ts";
export { LoggerConfigError, LoggerDestinationError, LoggerError } from "./errors.ts";
