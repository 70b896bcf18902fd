import type { ChildLoggerOptions, Logger as PinoLogger } from "pino";
import type { FlushOptions } from "./destination.ts";
import type { FlushReport } from "./destination/sink.ts";
import type { TraceContext } from "./context/trace-context.ts";
import type { LogLevel } from "./levels.ts";
import type { LevelChange, LevelOptions } from "./levels/level-control.ts";

/** The fields of a line: an object whose own enumerable properties are written. */
export type Fields = object;

/** Any function. */
export type Wrapper = (...args: never[]) => unknown;

/**
 * Writes one line, unless the level says no. Never throws, whatever it is given. A `%` in a message is only a `%`.
 *
 *     log("message", { fields })
 *     log("message", error, { fields })     // the error is shown under `error`
 *     log(error, "message", { fields })     // without a message, the error's own
 *     log({ fields }, "message")            // pino's order; one more argument fills a `%s`
 *
 * In whatever order they come, an error among the arguments is the error of the line, and nothing is lost.
 */
export interface LogMethod {
  (message: string, fields?: Fields | null): void;
  (message: string, error: unknown, fields?: Fields | null): void;
  (error: Error, message?: string, fields?: Fields | null): void;
  // What was caught: only `unknown` itself, as a number or so would be a mistake.
  <T>(thrown: unknown extends T ? T : never, message?: string, fields?: Fields | null): void;
  (error: Error, fields?: Fields | null): void;
  (fields: Fields | null | undefined, message?: string, value?: unknown): void;
}

/** A frozen snapshot; every figure is exact and counts from the making of the logger, its children included. */
export interface LoggerStats {
  /** Lines handed to the destination, by level. Lines below the level are not counted. */
  readonly lines_total: Readonly<Record<Exclude<LogLevel, "silent">, number>>;
  /** Of these, the lines that the destination did not take. */
  readonly dropped_total: number;
  /** The same by level; levels of your own (`customLevels`) are only in the total. */
  readonly dropped_by_level: Readonly<Record<Exclude<LogLevel, "silent">, number>>;
  /** Bytes that wait in this process for the destination to take them, of all loggers that share it. */
  readonly buffered_bytes: number;
  /** Lines that left something out to keep within `maxLineBytes`. */
  readonly truncated_total: number;
  /** Lines that `rateLimit` suppressed; each is counted by one line "log lines were suppressed" too. */
  readonly suppressed_total: number;
  /** Lines that `sampling` left out. */
  readonly sampled_out_total: number;
  /** The code of the destination's last failure, as "EPIPE"; null before the first. */
  readonly last_failure: string | null;
}

/** pino's options of a child; of `formatters` nothing comes, as the line has one layout. */
export interface ChildOptions extends Omit<ChildLoggerOptions, "level"> {
  /** A level of its own. */
  level?: LogLevel;
}

export interface Logger {
  readonly trace: LogMethod;
  readonly debug: LogMethod;
  readonly info: LogMethod;
  readonly warn: LogMethod;
  readonly error: LogMethod;
  /** Also flushes. It does not end the process. */
  readonly fatal: LogMethod;
  /** Writes nothing. pino has it, and so Fastify's type of a logger. */
  readonly silent: LogMethod;

  /** `http_request` at info. Extra fields that repeat a name of these are shown as `field.<name>`; so below. */
  logHttpRequest(method: string, path: string, status: number, latencyMs: number, fields?: Fields | null): void;
  /** `inference` at info. */
  logInference(
    model: string,
    domain: string,
    tokensUsed: number,
    latencyMs: number,
    cacheHit: boolean,
    fields?: Fields | null,
  ): void;
  /** `cache_operation` at debug. */
  logCacheOp(operation: string, key: string, hit: boolean, latencyMs: number, fields?: Fields | null): void;
  /** `database_operation` at debug. */
  logDbOp(operation: string, table: string, rowsAffected: number, latencyMs: number, fields?: Fields | null): void;
  /** `model_load` at info. */
  logModelLoad(
    model: string,
    domain: string,
    memoryMb: number,
    latencyMs: number,
    success: boolean,
    fields?: Fields | null,
  ): void;

  /** A logger that adds these fields to each of its lines. They are serialised now, once. */
  withFields(fields: Fields): Logger;
  /** A logger whose lines carry `trace_id`, `span_id`, `trace_flags`, those that are given; without a context, none. */
  withContext(context: TraceContext | null | undefined): Logger;
  /**
   * A logger to be used inside these functions, which log for others: the caller of its lines is who called the first
   * of them that is running, so name the outermost first. Where none is, it is who called the logger.
   * @throws LoggerConfigError for what is no function
   */
  withWrapper(...wrappers: readonly Wrapper[]): Logger;
  /** pino's name for `withFields`, with its options. @throws LoggerConfigError on an unknown level or a bad path */
  child(bindings: Fields, options?: ChildOptions): Logger;
  // Fastify's type of a logger can't be met by options that may be `undefined`.
  child(bindings: Fields, options: { level?: LogLevel | undefined }): Logger;

  /**
   * A logger for a part of the service: its lines carry `component` and the fields of this logger. Its level is the one
   * that is set for the component, or for the nearest above it (`http` is above `http.retry`), or else that of the
   * logger that `createLogger` made.
   *
   * @param name below this logger's component, if it has one: `logger.component("http").component("retry")` is `http.retry`
   * @throws LoggerConfigError for a name that is not dotted parts of letters, digits, `_`, `-`, `/`, `@` and `:`
   */
  component(name: string): Logger;

  /**
   * Lines below it are not written. A child follows its parent until its own level is set.
   * @throws LoggerConfigError when it is set to something that is no level
   */
  level: LogLevel;
  /**
   * Sets the level of this logger, or of a component of all loggers of the family, with all below it; for good, until it
   * is undone, or for a time. Loggers that exist follow. Of several for the same thing the latest holds that has not
   * ended; setting `level` counts as one that doesn't end. A level set on a logger itself comes before its component's.
   *
   * @throws LoggerConfigError for a level, a component or a duration that makes no sense
   */
  setLevel(level: LogLevel, options?: LevelOptions): LevelChange;
  isLevelEnabled(level: LogLevel): boolean;

  /** The pino instance that writes the lines: Fastify's `loggerInstance`, pino-http's `logger`. */
  readonly pino: PinoLogger;

  getStats(): LoggerStats;
  /**
   * Settles when the destination has taken or dropped every line so far, or at the deadline, and says what is left.
   * Rejects only for a deadline that makes no sense (LoggerConfigError).
   */
  flush(options?: FlushOptions): Promise<FlushReport>;
  /**
   * Flushes and closes the file that `destination` named; later lines for it, and those that are left at the deadline,
   * are dropped and counted. Standard output, descriptors and streams of yours stay open and go on taking lines.
   * Idempotent; for all loggers that share it.
   */
  close(options?: FlushOptions): Promise<FlushReport>;
  /**
   * Opens the file that `destination` named anew, by the same path: to be called when it was moved away (logrotate). Each
   * line is whole in one of the two. A stream of yours that has a `reopen` has it called. Never throws.
   *
   * @returns false where there is nothing to open or it can't be opened (see `last_failure`): the old file goes on
   */
  reopen(): boolean;
  [Symbol.asyncDispose](): Promise<void>;
}
