import { checkOptions, describeValue } from "@vg/internal";
import { LoggerConfigError } from "../errors.ts";
import { LEVEL_NUMBERS, type LogLevel } from "../levels.ts";
import type { RateLimitSettings } from "./rate-limiter.ts";
import type { SamplingSettings } from "./sampler.ts";

export interface RateLimitOptions {
  /** Lines of one call site that are written within an interval, 1 to 1,000,000. Default: 100. */
  burst?: number | undefined;
  /** Length of an interval in milliseconds, 1 to 86,400,000 (a day). Default: 10,000. */
  intervalMs?: number | undefined;
  /** The levels that are limited. Default: `trace`, `debug`, `info` and `warn`; errors are not. */
  levels?: readonly Exclude<LogLevel, "silent">[] | undefined;
  /** Call sites that are told apart within an interval, 1 to 100,000. Default: 1,000. */
  maxSites?: number | undefined;
}

export interface SamplingOptions {
  /** The part of the lines that is kept, from 0 (none) to 1. Default, here and below: 1. `warn` and above are kept. */
  trace?: number | undefined;
  debug?: number | undefined;
  info?: number | undefined;
  /** By message, before its placeholders are filled in, as `{ http_request: 0.1 }`; comes before the level. */
  messages?: Readonly<Record<string, number>> | undefined;
  /** A number from 0 up to 1, for the lines without a `trace_id`. Default: `Math.random`. */
  random?: (() => number) | undefined;
}

type NamedLevel = Exclude<LogLevel, "silent">;
/** Unless others are asked for: an error is worth its line. */
const LIMITED_LEVELS: readonly NamedLevel[] = ["trace", "debug", "info", "warn"];
const NAMED_LEVELS = Object.keys(LEVEL_NUMBERS) as NamedLevel[];

const fail = (message: string): LoggerConfigError => new LoggerConfigError(message);

/** @throws LoggerConfigError */
export function checkRateLimit(value: unknown): RateLimitSettings | undefined {
  if (value === undefined || value === false) return undefined;
  const check = checkOptions("createLogger: rateLimit", value, fail);
  const settings = {
    burst: check.integer("burst", { fallback: 100, min: 1, max: 1_000_000 }),
    intervalMs: check.durationMs("intervalMs", { fallback: 10_000, min: 1, max: 86_400_000 }),
    levels: new Set(checkLevels(check.raw("levels")).map((level) => LEVEL_NUMBERS[level])),
    maxSites: check.integer("maxSites", { fallback: 1000, min: 1, max: 100_000 }),
  };
  check.noOthers();
  return settings;
}

function checkLevels(value: unknown): readonly NamedLevel[] {
  if (value === undefined) return LIMITED_LEVELS;
  if (Array.isArray(value) && value.every((level) => NAMED_LEVELS.includes(level as NamedLevel))) {
    return value as NamedLevel[];
  }
  throw fail(
    `createLogger: rateLimit.levels must be an array of ${NAMED_LEVELS.map((level) => JSON.stringify(level)).join(", ")}, ` +
      `got ${describeValue(value)}.`,
  );
}

/** @throws LoggerConfigError */
export function checkSampling(value: unknown): SamplingSettings | undefined {
  if (value === undefined || value === false) return undefined;
  const check = checkOptions("createLogger: sampling", value, fail);
  const rates = new Map(
    (["trace", "debug", "info"] as const).map((level) => [
      LEVEL_NUMBERS[level] as number,
      check.number(level, { fallback: 1, min: 0, max: 1 }),
    ]),
  );
  const messages = new Map<string, number>();
  const byMessage = check.raw("messages");
  if (byMessage !== undefined) {
    if (typeof byMessage !== "object" || byMessage === null || Array.isArray(byMessage)) {
      throw check.refuse("messages", "an object from messages to rates, as { http_request: 0.1 }");
    }
    const each = checkOptions("createLogger: sampling.messages", byMessage, fail);
    for (const message of Object.keys(byMessage)) {
      messages.set(message, each.number(message, { fallback: 1, min: 0, max: 1 }));
    }
  }
  const random = check.function<() => number>("random") ?? Math.random;
  check.noOthers();
  return { rates, messages, random };
}
