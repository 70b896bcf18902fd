import type { Logger as PinoLogger } from "pino";
import { describeValue } from "@vg/internal";
import { sortArguments } from "./arguments.ts";
import type { TraceContext } from "./context/trace-context.ts";
import type { Destination, FlushOptions } from "./destination.ts";
import type { FlushReport } from "./destination/sink.ts";
import { LoggerConfigError } from "./errors.ts";
import { INTERNALS, type LoggerInternals } from "./internals.ts";
import { cellOf, type LevelCell, MOVED } from "./level-cell.ts";
import { LEVEL_NUMBERS, type LogLevel } from "./levels.ts";
import { checkComponent, checkLevel } from "./levels/component-levels.ts";
import type { LevelChange, LevelOptions } from "./levels/level-control.ts";
import { isError } from "./line/error.ts";
import type { LineWriter, Serializers } from "./line/line-writer.ts";
import type { Redactor } from "./line/redact.ts";
import type { LineHooks } from "./line-hooks.ts";
import type { ChildOptions, Fields, Logger, LoggerStats, LogMethod, Wrapper } from "./logger.ts";
import { type PinoCore, SERIALIZERS, serializersOf, withWrappers } from "./pino-core.ts";
import type { VolumeControl } from "./volume/volume-control.ts";

/** What a logger and its children share. */
export interface Shared {
  readonly core: PinoCore;
  readonly lines: LineWriter;
  readonly redactor: Redactor;
  readonly destination: Destination;
  readonly hooks: LineHooks;
  /** `undefined` where neither `rateLimit` nor `sampling` is set. */
  readonly volume: VolumeControl | undefined;
  /** Ends that the level steps with a signal. */
  readonly unfollow: (() => void) | undefined;
}

/** A class can't name itself in its own body: a bundler renames it there. */
const loggerOn = (shared: Shared, pino: PinoLogger): Logger => new VgLogger(shared, pino);

export class VgLogger implements Logger {
  readonly #shared: Shared;
  /** Holds the level and the fields of this logger. */
  readonly pino: PinoLogger;
  #level: LevelCell;
  /** Of pino's option `msgPrefix`; pino's own methods put it there by themselves. */
  readonly #prefix: string | undefined;

  // Functions of each logger's own, so that `promise.catch(logger.error)` works.
  readonly trace: LogMethod;
  readonly debug: LogMethod;
  readonly info: LogMethod;
  readonly warn: LogMethod;
  readonly error: LogMethod;
  readonly fatal: LogMethod;
  readonly silent: LogMethod = () => undefined;

  constructor(shared: Shared, pino: PinoLogger) {
    this.#shared = shared;
    this.pino = pino;
    this.#level = cellOf(pino);
    this.#prefix = pino.msgPrefix;
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
    const { trace_id, span_id, trace_flags } = context ?? {};
    return this.withFields({
      ...(trace_id ? { trace_id } : {}),
      ...(span_id ? { span_id } : {}),
      ...(trace_flags ? { trace_flags } : {}),
    });
  }

  withWrapper(...wrappers: readonly Wrapper[]): Logger {
    const odd = wrappers.find((wrapper) => typeof wrapper !== "function");
    if (wrappers.length === 0 || odd !== undefined) {
      throw new LoggerConfigError(`withWrapper: every argument must be a function, got ${describeValue(odd)}.`);
    }
    return loggerOn(this.#shared, withWrappers(this.pino, wrappers));
  }

  child(bindings: Fields, options?: Omit<ChildOptions, "level"> & { level?: LogLevel | undefined }): Logger {
    const { level, ...others } = options ?? {};
    // Fastify says "" where a route has no level of its own.
    const own = level ? checkLevel("Logger", "level", level) : undefined;
    const instance = this.pino.child(bindings, others);
    if (own !== undefined) this.#shared.core.levels.start(instance, own);
    return loggerOn(this.#shared, instance);
  }

  component(name: string): Logger {
    const { core } = this.#shared;
    const above = core.componentOf(this.pino);
    const component = checkComponent("Logger", "component", above === undefined ? name : `${above}.${name}`);
    return loggerOn(this.#shared, core.childFor(this.pino, component));
  }

  get level(): LogLevel {
    return this.pino.level as LogLevel;
  }

  set level(level: LogLevel) {
    this.pino.level = checkLevel("Logger", "level", level);
  }

  setLevel(level: LogLevel, options?: LevelOptions): LevelChange {
    return this.#shared.core.levels.setLevel(this.pino, level, options);
  }

  isLevelEnabled(level: LogLevel): boolean {
    return level !== "silent" && this.pino.isLevelEnabled(level);
  }

  getStats(): LoggerStats {
    const { core, destination, lines, volume } = this.#shared;
    return Object.freeze({
      lines_total: Object.freeze(byLevel(core.counts)),
      dropped_total: destination.drops.total,
      dropped_by_level: Object.freeze(byLevel(destination.drops.byLevel)),
      buffered_bytes: destination.bufferedBytes,
      truncated_total: lines.truncated,
      suppressed_total: volume?.suppressedTotal ?? 0,
      sampled_out_total: volume?.sampledOutTotal ?? 0,
      last_failure: destination.lastFailure,
    });
  }

  flush(options?: FlushOptions): Promise<FlushReport> {
    this.#shared.volume?.report();
    return this.#shared.destination.flush(options);
  }

  close(options?: FlushOptions): Promise<FlushReport> {
    this.#shared.unfollow?.();
    this.#shared.volume?.report();
    return this.#shared.destination.close(options);
  }

  reopen(): boolean {
    return this.#shared.destination.reopen();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** What the other entries of this package see; see internals.ts. */
  internals(): LoggerInternals {
    const { core, lines, redactor } = this.#shared;
    return {
      redactor,
      form: (names) => lines.form(names),
      event: (level, message, error, fixed, fields) => {
        if (this.#level.value > level || (this.#level.value === MOVED && !this.#isEnabled(level))) return;
        core.write(this.pino, level, undefined, message, error, fixed, fields);
      },
    };
  }

  // What frameworks look for in the logger that they are given, and find in pino's.
  get levels(): PinoLogger["levels"] {
    return this.pino.levels;
  }

  /** @param method the public function that was called; what called that is the caller of the line */
  #log(level: number, method: LogMethod, a: unknown, b: unknown, c: unknown): void {
    if (this.#level.value === MOVED && !this.#isEnabled(level)) return;
    const { core, lines, hooks } = this.#shared;
    // The commonest calls need no sorting out: a message, with an error or without, and fields or none.
    if (this.#prefix === undefined && typeof a === "string" && (b === undefined || typeof b === "object")) {
      if (isError(b)) {
        if (c === undefined || (typeof c === "object" && !isError(c))) {
          core.write(this.pino, level, method, a, b, undefined, c);
          return;
        }
      } else if (c === undefined) {
        core.write(this.pino, level, method, a, undefined, undefined, b);
        return;
      }
    }
    const { message, template, error, fixed, fields } = sortArguments(level, a, b, c, (value) => lines.inline(value));
    if (template !== undefined && hooks.gate !== undefined) hooks.template = template;
    const hasPrefix = this.#prefix !== undefined && message !== undefined;
    core.write(this.pino, level, method, hasPrefix ? this.#prefix + message : message, error, fixed, fields);
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

function byLevel(counts: ReadonlyMap<number, number>): Record<Exclude<LogLevel, "silent">, number> {
  const count = (level: number): number => counts.get(level) ?? 0;
  return {
    trace: count(LEVEL_NUMBERS.trace),
    debug: count(LEVEL_NUMBERS.debug),
    info: count(LEVEL_NUMBERS.info),
    warn: count(LEVEL_NUMBERS.warn),
    error: count(LEVEL_NUMBERS.error),
    fatal: count(LEVEL_NUMBERS.fatal),
  };
}

// Not in the class, where declarations can't have names from other files.
Object.defineProperties(VgLogger.prototype, {
  [INTERNALS]: {
    get(this: VgLogger): LoggerInternals {
      return this.internals();
    },
  },
  [SERIALIZERS]: {
    get(this: VgLogger): Serializers {
      return serializersOf(this.pino);
    },
  },
});
