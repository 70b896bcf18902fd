import { types } from "node:util";
import { checkOptions, describeValue } from "@vg/internal";
import { type BufferOptions, type Buffering, checkBuffer } from "./destination/buffering.ts";
import { LoggerConfigError } from "./errors.ts";
import { LOG_LEVELS, type LogLevel } from "./levels.ts";
import { checkComponentLevels } from "./levels/component-levels.ts";
import { checkRateLimit, checkSampling, type RateLimitOptions, type SamplingOptions } from "./volume/options.ts";
import type { RateLimitSettings } from "./volume/rate-limiter.ts";
import type { SamplingSettings } from "./volume/sampler.ts";

/** Wall-clock time in milliseconds since 1970. */
export interface Clock {
  now(): number;
}

/** Whatever takes lines: a Node Writable, a pino transport, `pino.multistream`, or an object of your own. */
export interface LogDestination {
  write(line: string): unknown;
}

export type LogFormat = "json" | "console";
export type LogTimeFormat = "rfc3339" | "unix" | "unix_ms";
export type CallerPolicy = "off" | "warn" | "all";
export type LevelSignal = "SIGUSR2" | "SIGHUP";

export interface RedactOptions {
  /** Names of fields to hide besides the built-in ones. Case, `-` and `_` don't matter. Default: none. */
  keys?: readonly string[] | undefined;
  /** Names of fields to show although they are on the built-in list. Default: none. */
  allow?: readonly string[] | undefined;
  /** Also hide secrets inside text: passwords in URLs, `password=…`, `Bearer …`, known tokens, keys. Default: true. */
  text?: boolean | undefined;
  /**
   * What else to hide inside text: every match is replaced whole. They are tried on every text, cut 4,096 characters
   * beyond `maxStringLength`, so what they cost is yours. A text on which one fails is hidden whole. Default: none.
   */
  patterns?: readonly RegExp[] | undefined;
  /** What is shown in place of a secret. Default: `"[redacted]"`. */
  replacement?: string | undefined;
}

export interface LoggerConfig {
  /** Lines below this level are not written. Default: `"info"`. */
  level?: LogLevel | undefined;
  /** Levels by component, as `{ db: "debug" }`, for `logger.component("db")` and all below it. Default: none. */
  levels?: Readonly<Record<string, LogLevel>> | undefined;
  /**
   * With each of these signals the level goes on to the next more talkative one of `info`, `debug` and `trace`, and
   * from `trace` back to what it was; one line says so. Default: none.
   */
  levelSignal?: LevelSignal | undefined;
  /** Writes a limited number of lines of one call site in an interval, and then one that counts the others. Default: off. */
  rateLimit?: false | RateLimitOptions | undefined;
  /** Writes a part of the lines below `warn`, those of one trace together. Default: off. */
  sampling?: false | SamplingOptions | undefined;
  /** `"json"`, a JSON document a line, or `"console"`, for people. Default: `"json"`. */
  format?: LogFormat | undefined;
  /**
   * `"rfc3339"` (UTC, milliseconds), `"unix"` (whole seconds) or `"unix_ms"` (whole milliseconds), rounded down.
   * Default: `"rfc3339"`.
   */
  timeFormat?: LogTimeFormat | undefined;
  /**
   * A file to append to, the number of an open file descriptor, or something with `write(line)`.
   * Default: 1, standard output. A file or descriptor is written to before the log call returns.
   */
  destination?: string | number | LogDestination | undefined;
  /**
   * Gathers the lines for a file or descriptor, and writes many together: more than twice the speed, and a destination that
   * takes nothing is not waited for. What is gathered is written at every end of the process but SIGKILL,
   * `process.abort` and `worker.terminate`. `true` is the defaults of BufferOptions. Default: false.
   */
  buffer?: boolean | BufferOptions | undefined;
  /** Which lines say where they were logged: none, `warn` and above, or all. Default: `"warn"`. */
  caller?: CallerPolicy | undefined;
  /**
   * Packages that log for others, as `"nestjs-pino"`: where one of their files logs, the caller of the line is the
   * nearest frame outside of them. Default: none.
   */
  callerSkip?: readonly string[] | undefined;
  /** Whether lines carry the ids of OpenTelemetry's active span, where its API is in use. Default: `"auto"`, they do. */
  openTelemetry?: "auto" | "off" | undefined;
  /** What is hidden; `false` hides nothing. Default: the built-in list of names, and secrets inside text. */
  redact?: false | RedactOptions | undefined;
  /** Fields of every line. Default: none. */
  base?: object | undefined;
  /** Colours of `format: "console"`. Default: `"auto"`, by FORCE_COLOR, NO_COLOR and whether a terminal is there. */
  color?: "auto" | "always" | "never" | undefined;
  /** The time of the lines. Default: the system's. */
  clock?: Clock | undefined;
  /** Objects inside objects are shown to this depth, 1 to 32. Default: 8. */
  maxDepth?: number | undefined;
  /** Entries of an array, a map or an object that are shown, 1 to 100,000. Default: 200. */
  maxItems?: number | undefined;
  /** Characters of one text that are shown, 16 to 10,000,000. Default: 16,384. */
  maxStringLength?: number | undefined;
  /** Bytes of one JSON line, its newline included, 1,024 to 100,000,000. Default: 65,536. */
  maxLineBytes?: number | undefined;
}

export interface Settings {
  readonly level: LogLevel;
  readonly levels: Readonly<Record<string, LogLevel>>;
  readonly levelSignal: LevelSignal | undefined;
  readonly rateLimit: RateLimitSettings | undefined;
  readonly sampling: SamplingSettings | undefined;
  readonly format: LogFormat;
  readonly timeFormat: LogTimeFormat;
  readonly destination: string | number | LogDestination;
  readonly buffering: Buffering | undefined;
  readonly caller: CallerPolicy;
  readonly callerSkip: ReadonlySet<string>;
  readonly openTelemetry: "auto" | "off";
  readonly redact: false | Required<NonNullableOptions<RedactOptions>>;
  readonly base: object;
  readonly color: "auto" | "always" | "never";
  readonly clock: Clock;
  readonly limits: Limits;
}

export interface Limits {
  readonly maxDepth: number;
  readonly maxItems: number;
  readonly maxStringLength: number;
  readonly maxLineBytes: number;
}

type NonNullableOptions<T> = { [K in keyof T]: Exclude<T[K], undefined> };

export const LOG_FORMATS = ["json", "console"] as const;
export const LOG_TIME_FORMATS = ["rfc3339", "unix", "unix_ms"] as const;
export const CALLER_POLICIES = ["off", "warn", "all"] as const;
/** Those that Node leaves to the program. Without a listener they end it. */
export const LEVEL_SIGNALS = ["SIGUSR2", "SIGHUP"] as const;

export const DEFAULTS = {
  level: "info",
  format: "json",
  timeFormat: "rfc3339",
  destination: 1,
  caller: "warn",
  openTelemetry: "auto",
  color: "auto",
  maxDepth: 8,
  maxItems: 200,
  maxStringLength: 16_384,
  maxLineBytes: 65_536,
} as const;

const fail = (message: string): LoggerConfigError => new LoggerConfigError(message);

/** @throws LoggerConfigError that names the option, what it got and what is allowed */
export function resolveConfig(config: LoggerConfig): Settings {
  const check = checkOptions("createLogger", config, fail);
  const settings: Settings = {
    level: check.oneOf("level", LOG_LEVELS, { fallback: DEFAULTS.level }),
    levels: checkComponentLevels("createLogger", check.raw("levels")),
    levelSignal:
      check.raw("levelSignal") === undefined
        ? undefined
        : check.oneOf("levelSignal", LEVEL_SIGNALS, { fallback: LEVEL_SIGNALS[0] }),
    rateLimit: checkRateLimit(check.raw("rateLimit")),
    sampling: checkSampling(check.raw("sampling")),
    format: check.oneOf("format", LOG_FORMATS, { fallback: DEFAULTS.format }),
    timeFormat: check.oneOf("timeFormat", LOG_TIME_FORMATS, { fallback: DEFAULTS.timeFormat }),
    destination: checkDestination(check.raw("destination")),
    buffering: checkBuffer(check.raw("buffer"), check.raw("destination")),
    caller: check.oneOf("caller", CALLER_POLICIES, { fallback: DEFAULTS.caller }),
    callerSkip: new Set(checkNames("callerSkip", "packages", check.raw("callerSkip"))),
    openTelemetry: check.oneOf("openTelemetry", ["auto", "off"], { fallback: DEFAULTS.openTelemetry }),
    redact: checkRedact(check.raw("redact")),
    base: checkBase(check.raw("base")),
    color: check.oneOf("color", ["auto", "always", "never"], { fallback: DEFAULTS.color }),
    clock: check.objectWith<Clock>("clock", ["now"], { hint: "now() gives milliseconds since 1970." }) ?? systemClock,
    limits: {
      maxDepth: check.integer("maxDepth", { fallback: DEFAULTS.maxDepth, min: 1, max: 32 }),
      maxItems: check.integer("maxItems", { fallback: DEFAULTS.maxItems, min: 1, max: 100_000 }),
      maxStringLength: check.integer("maxStringLength", {
        fallback: DEFAULTS.maxStringLength,
        min: 16,
        max: 10_000_000,
      }),
      maxLineBytes: check.integer("maxLineBytes", { fallback: DEFAULTS.maxLineBytes, min: 1024, max: 100_000_000 }),
    },
  };
  check.noOthers();
  return settings;
}

const systemClock: Clock = { now: () => Date.now() };

function checkDestination(value: unknown): string | number | LogDestination {
  if (value === undefined) return DEFAULTS.destination;
  if (typeof value === "string" && value !== "") return value;
  if (typeof value === "number" && Number.isInteger(value) && value >= 0) return value;
  if (typeof value === "object" && value !== null && typeof (value as LogDestination).write === "function") {
    return value as LogDestination;
  }
  throw fail(
    "createLogger: destination must be the path of a file, a file descriptor from 0, or an object with write(line), " +
      `got ${describeValue(value)}. Leave it out for standard output.`,
  );
}

function checkRedact(value: unknown): Settings["redact"] {
  if (value === false) return false;
  if (value === true) throw fail("createLogger: redact must be false or an object, got true. Hiding is on by default.");
  const check = checkOptions("createLogger: redact", value === undefined ? {} : value, fail);
  const redact = {
    keys: checkNames("redact.keys", "fields", check.raw("keys")),
    allow: checkNames("redact.allow", "fields", check.raw("allow")),
    text: check.boolean("text", { fallback: true }),
    patterns: checkPatterns(check.raw("patterns")),
    replacement: check.string("replacement", { fallback: "[redacted]" }),
  };
  check.noOthers();
  return redact;
}

function checkNames(option: string, of: string, value: unknown): readonly string[] {
  if (value === undefined) return [];
  if (Array.isArray(value) && value.every((name) => typeof name === "string" && name !== "")) return [...value];
  throw fail(`createLogger: ${option} must be an array of names of ${of}, got ${describeValue(value)}.`);
}

function checkPatterns(value: unknown): readonly RegExp[] {
  if (value === undefined) return [];
  if (!Array.isArray(value) || !value.every((pattern) => types.isRegExp(pattern))) {
    throw fail(`createLogger: redact.patterns must be an array of regular expressions, got ${describeValue(value)}.`);
  }
  const patterns: readonly RegExp[] = [...value];
  const empty = patterns.find(({ source, flags }) => new RegExp(source, flags.replace(/[gy]/g, "")).test(""));
  if (empty === undefined) return patterns;
  throw fail(
    `createLogger: redact.patterns has ${String(empty)}, which matches an empty text and so hides everything.`,
  );
}

function checkBase(value: unknown): object {
  if (value === undefined) return {};
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
  throw fail(`createLogger: base must be an object of fields, got ${describeValue(value)}.`);
}
