import type { Logger as PinoLogger } from "pino";
import { describeValue } from "@vg/internal";
import { sortArguments } from "./arguments.ts";
import type { Destination } from "./destination.ts";
import { LoggerConfigError } from "./errors.ts";
import { cellOf, type LevelCell, MOVED, startCell } from "./level-cell.ts";
import { LEVEL_NUMBERS, LOG_LEVELS, type LogLevel } from "./levels.ts";
import { isError } from "./line/error.ts";
import type { LineWriter } from "./line/line-writer.ts";
import type { Fields, Logger, LoggerStats, LogMethod, TraceContext } from "./logger.ts";
import type { PinoCore } from "./pino-core.ts";

/** What a logger and its children share. */
export interface Shared {
  readonly core: PinoCore;
  readonly lines: LineWriter;
  readonly destination: Destination;
}

/** A class can't name itself in its own body: a bundler renames it there. */
const loggerOn = (shared: Shared, pino: PinoLogger): Logger => new VgLogger(shared, pino);

export class VgLogger implements Logger {
  readonly #shared: Shared;
  /** Holds the level and the fields of this logger. */
  readonly pino: PinoLogger;
  #level: LevelCell;

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
    this.#level = cellOf(pino);
    this.trace = (a?: unknown, b?: unknown, c?: unknown): void => {
      if (this.#level.value <= 10) this.#log(10, this.trace, a, b, c);
    };
    this.debug = (a?: unknown, b?: unknown, c?: unknown): void => {
      if (this.#level.value <= 20) this.#log(20, this.debug, a, b, c);
    };
    this.info = (a?: unknown, b?: unknown, c?: unknown): void => {
      if (this.#level.value <= 30) this.#log(30, this.info, a, b, c);
    };
    this.warn = (a?: unknown, b?: unknown, c?: unknown): void => {
      if (this.#level.value <= 40) this.#log(40, this.warn, a, b, c);
    };
    this.error = (a?: unknown, b?: unknown, c?: unknown): void => {
      if (this.#level.value <= 50) this.#log(50, this.error, a, b, c);
    };
    this.fatal = (a?: unknown, b?: unknown, c?: unknown): void => {
      if (this.#level.value <= 60) this.#log(60, this.fatal, a, b, c);
      shared.destination.flushSync();
    };
  }

  logHttpRequest(method: string, path: string, status: number, latencyMs: number, fields?: Fields | null): void {
    if (this.#level.value > LEVEL_NUMBERS.info) return;
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
    if (this.#level.value > LEVEL_NUMBERS.info) return;
    const fixed = { model, domain, tokens_used: tokensUsed, latency_ms: latencyMs, cache_hit: cacheHit };
    this.#event(LEVEL_NUMBERS.info, "inference", fixed, fields);
  }

  logCacheOp(operation: string, key: string, hit: boolean, latencyMs: number, fields?: Fields | null): void {
    if (this.#level.value > LEVEL_NUMBERS.debug) return;
    this.#event(LEVEL_NUMBERS.debug, "cache_operation", { operation, key, hit, latency_ms: latencyMs }, fields);
  }

  logDbOp(operation: string, table: string, rowsAffected: number, latencyMs: number, fields?: Fields | null): void {
    if (this.#level.value > LEVEL_NUMBERS.debug) return;
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
    if (this.#level.value > LEVEL_NUMBERS.info) return;
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
    const instance = this.pino.child(bindings);
    if (options?.level !== undefined) {
      startCell(instance);
      instance.level = knownLevel(options.level);
    }
    return loggerOn(this.#shared, instance);
  }

  get level(): LogLevel {
    return this.pino.level as LogLevel;
  }

  set level(level: LogLevel) {
    this.pino.level = knownLevel(level);
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
    if (this.#level.value === MOVED && !this.#isEnabled(level)) return;
    const { core, lines } = this.#shared;
    // The commonest call needs no sorting out: a message, and fields or none.
    if (typeof a === "string" && c === undefined && (b === undefined || (typeof b === "object" && !isError(b)))) {
      core.write(this.pino, level, method, a, undefined, undefined, b);
      return;
    }
    const { message, error, fixed, fields } = sortArguments(level, a, b, c, (value) => lines.inline(value));
    core.write(this.pino, level, method, message, error, fixed, fields);
  }

  #isEnabled(level: number): boolean {
    this.#level = cellOf(this.pino);
    return this.#level.value <= level;
  }

  #event(level: number, message: string, fixed: object, fields: Fields | null | undefined): void {
    if (this.#level.value === MOVED && !this.#isEnabled(level)) return;
    this.#shared.core.write(this.pino, level, undefined, message, undefined, fixed, fields);
  }
}

function knownLevel(level: LogLevel): LogLevel {
  if (LOG_LEVELS.includes(level)) return level;
  const known = LOG_LEVELS.map((word) => JSON.stringify(word)).join(", ");
  throw new LoggerConfigError(`Logger: level must be one of ${known}, got ${describeValue(level)}.`);
}
