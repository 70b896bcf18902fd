import type { Logger as PinoLogger } from "pino";
import { describeValue } from "@vg/internal";
import { callerOf } from "./caller.ts";
import { resolveConfig, type LoggerConfig } from "./config.ts";
import { createConsoleFormat, wantsColor } from "./console-format.ts";
import { openDestination, type Destination } from "./destination.ts";
import { LoggerConfigError } from "./errors.ts";
import { LEVEL_NUMBERS, LOG_LEVELS, type LogLevel } from "./levels.ts";
import { Entry } from "./line/entry.ts";
import { isError } from "./line/error.ts";
import { LineWriter } from "./line/line-writer.ts";
import { createRedactor } from "./line/redact.ts";
import { createTimestamp } from "./line/time.ts";
import { createPinoCore, formatMessage, type PinoCore } from "./pino-core.ts";

/** The fields of a line: an object whose own enumerable properties are written. */
export type Fields = object;

/** The ids that tie a line to a trace (W3C Trace Context, OpenTelemetry). */
export interface TraceContext {
  readonly trace_id?: string | undefined;
  readonly span_id?: string | undefined;
}

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
  (error: Error, fields?: Fields | null): void;
  (fields: Fields | null | undefined, message?: string, value?: unknown): void;
}

/** A frozen snapshot; every figure is exact and counts from the making of the logger, its children included. */
export interface LoggerStats {
  /** Lines handed to the destination, by level. Lines below the level are not counted. */
  readonly lines_total: Readonly<Record<Exclude<LogLevel, "silent">, number>>;
  /** Of these, the lines that the destination did not take. */
  readonly dropped_total: number;
  /** Lines that left something out to keep within `maxLineBytes`. */
  readonly truncated_total: number;
  /** The code of the destination's last failure, as "EPIPE"; null before the first. */
  readonly last_failure: string | null;
}

export interface Logger {
  readonly trace: LogMethod;
  readonly debug: LogMethod;
  readonly info: LogMethod;
  readonly warn: LogMethod;
  readonly error: LogMethod;
  /** Also flushes. It does not end the process. */
  readonly fatal: LogMethod;

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
  /** A logger whose lines carry `trace_id` and `span_id`, those that are given; without a context, none. */
  withContext(context: TraceContext | null | undefined): Logger;
  /** pino's name for `withFields`, with a level of its own if wanted. @throws LoggerConfigError on an unknown level */
  child(bindings: Fields, options?: { level?: LogLevel | undefined }): Logger;

  /**
   * Lines below it are not written. A child follows its parent until its own level is set.
   * @throws LoggerConfigError when it is set to something that is no level
   */
  level: LogLevel;
  isLevelEnabled(level: LogLevel): boolean;

  /** The pino instance that writes the lines: Fastify's `loggerInstance`, pino-http's `logger`. */
  readonly pino: PinoLogger;

  getStats(): LoggerStats;
  /** Settles when the destination has taken or dropped every line so far. Never rejects. */
  flush(): Promise<void>;
  /**
   * Flushes and closes the file that `destination` named; later lines for it are dropped and counted. Standard output,
   * descriptors and streams of yours stay open and go on taking lines. Idempotent; for all loggers that share it.
   */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Makes a logger. By default: JSON lines from `info` up, on standard output, written before the call returns.
 *
 * @throws LoggerConfigError for an option that makes no sense
 * @throws LoggerDestinationError when the file can't be opened
 */
export function createLogger(config: LoggerConfig = {}): Logger {
  return createLoggerThatWarns(config, []);
}

/**
 * Makes a logger, whose first lines are these warnings. Its level does not hide them, unless it is `silent`, and they
 * have no caller, which would be a place in this package.
 */
export function createLoggerThatWarns(config: LoggerConfig, warnings: readonly string[]): Logger {
  const settings = resolveConfig(config);
  const destination = openDestination(settings.destination);
  const lines = new LineWriter(settings.limits, createRedactor(settings.redact));
  const present =
    settings.format === "console" ? createConsoleFormat(wantsColor(settings.color, settings.destination)) : undefined;
  const timestamp = createTimestamp(settings.timeFormat, settings.clock);
  const core = createPinoCore({ settings, lines, timestamp, destination, present });
  if (settings.level !== "silent") {
    const nothing = new Entry(undefined, undefined, undefined);
    for (const warning of warnings) core.write(core.root, nothing, warning, LEVEL_NUMBERS.warn);
  }
  return loggerOn({ core, lines, destination }, core.root);
}

/** What a logger and its children share. */
interface Shared {
  readonly core: PinoCore;
  readonly lines: LineWriter;
  readonly destination: Destination;
}

function loggerOn(shared: Shared, pino: PinoLogger): Logger {
  return new VgLogger(shared, pino);
}

class VgLogger implements Logger {
  readonly #shared: Shared;
  /** Holds the level and the fields of this logger. */
  readonly pino: PinoLogger;

  // Functions of each logger's own, so that `promise.catch(logger.error)` works.
  readonly trace: LogMethod;
  readonly debug: LogMethod;
  readonly info: LogMethod;
  readonly warn: LogMethod;
  readonly error: LogMethod;
  readonly fatal: LogMethod;

  constructor(shared: Shared, pino: PinoLogger) {
    this.#shared = shared;
    this.pino = pino;
    this.trace = (a?: unknown, b?: unknown, c?: unknown): void => {
      if (pino.levelVal <= 10) this.#log(10, this.trace, a, b, c);
    };
    this.debug = (a?: unknown, b?: unknown, c?: unknown): void => {
      if (pino.levelVal <= 20) this.#log(20, this.debug, a, b, c);
    };
    this.info = (a?: unknown, b?: unknown, c?: unknown): void => {
      if (pino.levelVal <= 30) this.#log(30, this.info, a, b, c);
    };
    this.warn = (a?: unknown, b?: unknown, c?: unknown): void => {
      if (pino.levelVal <= 40) this.#log(40, this.warn, a, b, c);
    };
    this.error = (a?: unknown, b?: unknown, c?: unknown): void => {
      if (pino.levelVal <= 50) this.#log(50, this.error, a, b, c);
    };
    this.fatal = (a?: unknown, b?: unknown, c?: unknown): void => {
      if (pino.levelVal <= 60) this.#log(60, this.fatal, a, b, c);
      shared.destination.flushSync();
    };
  }

  logHttpRequest(method: string, path: string, status: number, latencyMs: number, fields?: Fields | null): void {
    if (this.pino.levelVal > LEVEL_NUMBERS.info) return;
    const fixed = { method, path, status_code: status, latency_ms: latencyMs };
    this.#event(LEVEL_NUMBERS.info, "http_request", fixed, fields);
  }

  logInference(
    model: string,
    domain: string,
    tokensUsed: number,
    latencyMs: number,
    cacheHit: boolean,
    fields?: Fields | null,
  ): void {
    if (this.pino.levelVal > LEVEL_NUMBERS.info) return;
    const fixed = { model, domain, tokens_used: tokensUsed, latency_ms: latencyMs, cache_hit: cacheHit };
    this.#event(LEVEL_NUMBERS.info, "inference", fixed, fields);
  }

  logCacheOp(operation: string, key: string, hit: boolean, latencyMs: number, fields?: Fields | null): void {
    if (this.pino.levelVal > LEVEL_NUMBERS.debug) return;
    this.#event(LEVEL_NUMBERS.debug, "cache_operation", { operation, key, hit, latency_ms: latencyMs }, fields);
  }

  logDbOp(operation: string, table: string, rowsAffected: number, latencyMs: number, fields?: Fields | null): void {
    if (this.pino.levelVal > LEVEL_NUMBERS.debug) return;
    const fixed = { operation, table, rows_affected: rowsAffected, latency_ms: latencyMs };
    this.#event(LEVEL_NUMBERS.debug, "database_operation", fixed, fields);
  }

  logModelLoad(
    model: string,
    domain: string,
    memoryMb: number,
    latencyMs: number,
    success: boolean,
    fields?: Fields | null,
  ): void {
    if (this.pino.levelVal > LEVEL_NUMBERS.info) return;
    const fixed = { model, domain, memory_mb: memoryMb, latency_ms: latencyMs, success };
    this.#event(LEVEL_NUMBERS.info, "model_load", fixed, fields);
  }

  withFields(fields: Fields): Logger {
    return loggerOn(this.#shared, this.pino.child(fields));
  }

  withContext(context: TraceContext | null | undefined): Logger {
    const { trace_id, span_id } = context ?? {};
    return this.withFields({ ...(trace_id ? { trace_id } : {}), ...(span_id ? { span_id } : {}) });
  }

  child(bindings: Fields, options?: { level?: LogLevel | undefined }): Logger {
    const child = this.withFields(bindings);
    if (options?.level !== undefined) child.level = options.level;
    return child;
  }

  get level(): LogLevel {
    return this.pino.level as LogLevel;
  }

  set level(level: LogLevel) {
    if (!LOG_LEVELS.includes(level)) {
      const known = LOG_LEVELS.map((word) => JSON.stringify(word)).join(", ");
      throw new LoggerConfigError(`Logger: level must be one of ${known}, got ${describeValue(level)}.`);
    }
    this.pino.level = level;
  }

  isLevelEnabled(level: LogLevel): boolean {
    return level !== "silent" && this.pino.isLevelEnabled(level);
  }

  getStats(): LoggerStats {
    const { core, destination, lines } = this.#shared;
    const count = (level: number): number => core.counts.get(level) ?? 0;
    return Object.freeze({
      lines_total: Object.freeze({
        trace: count(LEVEL_NUMBERS.trace),
        debug: count(LEVEL_NUMBERS.debug),
        info: count(LEVEL_NUMBERS.info),
        warn: count(LEVEL_NUMBERS.warn),
        error: count(LEVEL_NUMBERS.error),
        fatal: count(LEVEL_NUMBERS.fatal),
      }),
      dropped_total: destination.dropped,
      truncated_total: lines.truncated,
      last_failure: destination.lastFailure,
    });
  }

  flush(): Promise<void> {
    return this.#shared.destination.flush();
  }

  close(): Promise<void> {
    return this.#shared.destination.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** @param method the public function that was called; what called that is the caller of the line */
  #log(level: number, method: LogMethod, a: unknown, b: unknown, c: unknown): void {
    const { core, lines } = this.#shared;
    const wantsCaller = core.wantsCaller(level);
    // The commonest call needs no sorting out: a message, and fields or none.
    if (!wantsCaller && typeof a === "string" && c === undefined && (b === undefined || typeof b === "object")) {
      core.write(this.pino, b, a, level);
      return;
    }
    const caller = wantsCaller ? callerOf(method) : undefined;
    const { message, error, fixed, fields } = sortArguments(level, a, b, c, (value) => lines.inline(value));
    core.write(this.pino, new Entry(fields, error, caller, fixed), message, level);
  }

  #event(level: number, message: string, fixed: object, fields: Fields | null | undefined): void {
    this.#shared.core.write(this.pino, new Entry(fields, undefined, undefined, fixed), message, level);
  }
}

interface Sorted {
  /** `undefined`: the error's own. */
  message: string | undefined;
  /** `undefined`: none. */
  error: unknown;
  /** Fields that come before `fields`, where two objects were given. */
  fixed: object | undefined;
  fields: unknown;
}

/**
 * Tells the orders of arguments apart; see LogMethod. Whatever the order, an error among them is the error, the first
 * text is the message, and nothing that was given is lost.
 *
 * @param show a value as text, for the placeholders of a message
 */
function sortArguments(level: number, a: unknown, b: unknown, c: unknown, show: (value: unknown) => string): Sorted {
  const error = [a, b, c].find(isError);
  // pino's order, where what follows the message goes into it, is told by what comes first.
  if (typeof b === "string" && typeof a !== "string" && !isError(a) && c !== undefined) {
    const isPlain = c === error && !b.includes("%");
    return { message: isPlain ? b : formatMessage(b, [c], show), error, fixed: undefined, fields: a };
  }
  if (typeof a === "string" && error === undefined && b !== undefined && b !== null) {
    // Anything can be thrown. With a third argument, or where an error is to be expected, it is one.
    const isThrown = c !== undefined || (typeof b !== "object" && level >= LEVEL_NUMBERS.error);
    if (isThrown) return { message: a, error: b, fixed: undefined, fields: c };
  }

  let message: string | undefined;
  const rest: unknown[] = [];
  let isErrorTaken = false;
  for (const argument of [a, b, c]) {
    if (argument === undefined || argument === null) continue;
    if (argument === error && !isErrorTaken) isErrorTaken = true;
    else if (message === undefined && typeof argument === "string") message = argument;
    else rest.push(argument);
  }
  // A number, a function: not what the types allow, but something was meant to be said.
  if (message === undefined && rest.length > 0 && typeof rest[0] !== "object")
    message = formatMessage("%s", rest.splice(0, 1), show);
  const [first, second] = rest;
  if (typeof first === "object" && first !== null && second !== undefined)
    return { message, error, fixed: first, fields: second };
  return { message, error, fixed: undefined, fields: first };
}
