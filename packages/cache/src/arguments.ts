import { checkOptions, describeValue } from "@vg/internal";
import { CacheSizeError, CacheTtlError } from "./errors.ts";
import { CAPACITY_RULE, configError } from "./options.ts";
import type { LoadOptions } from "./options.ts";

/*
 * Checks of what the verbs are called with. `label` names the cache. All of them run before anything is changed.
 */

/** Checks the argument of `resize`. @throws {CacheConfigError} */
export function checkCapacity(label: string, capacity: number): number {
  const check = checkOptions(`${label}: resize()`, { capacity }, configError);
  // For an option, undefined is the default; a call without its argument is a mistake.
  if (capacity === undefined) throw check.refuse("capacity", "given", CAPACITY_RULE.hint);
  return check.integer("capacity", { fallback: capacity, ...CAPACITY_RULE });
}

/** The TTL to use. @throws {CacheTtlError} */
export function checkTtl(label: string, ttlMs: unknown, defaultTtlMs: number): number {
  if (ttlMs === undefined || ttlMs === 0) return defaultTtlMs;
  if (typeof ttlMs === "number" && ttlMs > 0) return ttlMs;
  throw new CacheTtlError(
    `${label}: ttlMs must be a number of milliseconds above 0, got ${describeValue(ttlMs)}. ` +
      `Infinity is for ever; leave it out for the default of ${defaultTtlMs} ms. Nothing was stored.`,
  );
}

/** The clock's time, for a deadline. @throws {CacheConfigError} */
export function checkTime(label: string, now: unknown): number {
  if (typeof now === "number" && Number.isFinite(now)) return now;
  throw configError(
    `${label}: clock.now() must give a finite number of milliseconds, got ${describeValue(now)}. Nothing was stored.`,
  );
}

/** The size, from `what`. @throws {CacheSizeError} */
export function checkSize(label: string, what: string, size: number): number {
  if (Number.isSafeInteger(size) && size >= 0) return size;
  throw new CacheSizeError(
    `${label}: ${what} must be a whole number of bytes of at least 0, got ${describeValue(size)}. ` +
      `Round it up; nothing was stored.`,
  );
}

/** Everything that can be known to be wrong before a load runs. @throws {CacheConfigError} {CacheTtlError} {CacheSizeError} */
export function checkLoad<K, V>(label: string, loader: unknown, options: LoadOptions<K, V>): void {
  if (typeof loader !== "function") {
    throw configError(`${label}: getOrLoad() needs a function to load with, got ${describeValue(loader)}.`);
  }
  checkCallOptions(`${label}: getOrLoad()`, options, ["ttlMs", "sizeBytes", "signal"]);
  const signal: unknown = options.signal;
  if (signal !== undefined && !isAbortSignal(signal)) {
    throw configError(`${label}: getOrLoad(): signal must be an AbortSignal, got ${describeValue(signal)}.`);
  }
  if (typeof options.ttlMs !== "function") checkTtl(label, options.ttlMs, Infinity);
  if (options.sizeBytes !== undefined) checkSize(label, "sizeBytes", options.sizeBytes);
}

/** How long ago a dump was taken. @throws {CacheConfigError} */
export function checkElapsed(label: string, options: { elapsedMs?: number | undefined }, takenAt: number): number {
  checkCallOptions(`${label}: load()`, options, ["elapsedMs"]);
  const elapsedMs = options.elapsedMs ?? Math.max(0, Date.now() - takenAt);
  if (typeof elapsedMs === "number" && elapsedMs >= 0) return elapsedMs;
  throw configError(
    `${label}: elapsedMs must be a number of milliseconds of at least 0, got ${describeValue(elapsedMs)}.`,
  );
}

/**
 * Refuses what is no object, and options that no version knows: a misspelt `ttlMs` would otherwise mean the default TTL.
 *
 * @throws {CacheConfigError}
 */
export function checkCallOptions(label: string, options: unknown, known: readonly string[]): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw configError(`${label}: options must be an object, got ${describeValue(options)}.`);
  }
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) {
      throw configError(`${label}: unknown option ${JSON.stringify(name)}. Known options: ${known.join(", ")}.`);
    }
  }
}

/** By what is used of it: signals of other realms and polyfills are none of this realm's AbortSignal. */
function isAbortSignal(value: unknown): boolean {
  return (
    typeof value === "object" &&
    value !== null &&
    "throwIfAborted" in value &&
    "addEventListener" in value &&
    "removeEventListener" in value
  );
}
