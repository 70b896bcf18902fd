import { checkOptions, describeValue } from "@vg/internal";
import { CacheSizeError, CacheTtlError } from "./errors.ts";
import type { LoadOptions } from "./loading/load-options.ts";
import { CAPACITY_RULE, configError } from "./options.ts";
import type { SetOptions } from "./options.ts";

/*
 * Checks of what the verbs are called with. `label` names the cache. All of them run before anything is changed.
 */

/** The new limits: what is not given stays. @throws {CacheConfigError} */
export function checkLimits(
  label: string,
  limits: unknown,
  present: { capacity: number; maxBytes: number },
): { capacity: number; maxBytes: number } {
  const named = typeof limits === "object" && limits !== null ? limits : { capacity: limits };
  const check = checkOptions(`${label}: resize()`, named, configError);
  // For an option, undefined is the default; a call without its argument is a mistake.
  if (limits === undefined) throw check.refuse("capacity", "given", CAPACITY_RULE.hint);
  const checked = {
    capacity:
      check.raw("capacity") === Infinity
        ? Infinity
        : check.integer("capacity", { fallback: present.capacity, ...CAPACITY_RULE }),
    maxBytes:
      check.raw("maxBytes") === Infinity ? Infinity : check.integer("maxBytes", { fallback: present.maxBytes, min: 1 }),
  };
  check.noOthers();
  if (checked.capacity === Infinity && checked.maxBytes === Infinity) {
    throw check.refuse("capacity", "finite", "A cache needs a limit: capacity, maxBytes, or both.");
  }
  const { capacity, maxBytes } = checked;
  // As at construction: values of 0 bytes need a limit, too.
  return { capacity: capacity === Infinity ? maxBytes : capacity, maxBytes };
}

/** The TTL to use. @throws {CacheTtlError} */
export function checkTtl(label: string, ttlMs: unknown, defaultTtlMs: number): number {
  if (ttlMs === undefined || ttlMs === 0) return defaultTtlMs;
  if (typeof ttlMs === "number" && ttlMs > 0) return ttlMs;
  throw new CacheTtlError(
    `${label}: ttlMs must be a number of milliseconds above 0, got ${describeValue(ttlMs)}. ` +
      `Infinity is for ever; leave it out for the default. Nothing was stored.`,
  );
}

/** @throws {CacheTtlError} */
export function checkIdle(label: string, idleMs: unknown): void {
  if (idleMs === undefined || (typeof idleMs === "number" && idleMs > 0)) return;
  throw new CacheTtlError(
    `${label}: idleMs must be a number of milliseconds above 0, got ${describeValue(idleMs)}. ` +
      `Leave it out, or give Infinity, for none. Nothing was stored.`,
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

const SET_OPTIONS = ["ttlMs", "idleMs", "ttlJitter", "sizeBytes"];

/** All but the TTL and the size, which are checked where they are used. @throws {CacheConfigError} {CacheTtlError} */
export function checkSetOptions(label: string, options: SetOptions): void {
  checkCallOptions(`${label}: set()`, options, SET_OPTIONS);
  checkIdle(label, options.idleMs);
  checkShare(label, "ttlJitter", options.ttlJitter, 0);
}

const LOAD_OPTIONS = [
  ...SET_OPTIONS,
  "signal",
  "staleWhileRevalidateMs",
  "staleIfErrorMs",
  "refreshAheadRatio",
  "negativeTtlMs",
  "errorTtlMs",
  "loadTimeoutMs",
];

/** Everything that can be known to be wrong before a load runs. @throws {CacheConfigError} {CacheTtlError} {CacheSizeError} */
export function checkLoad<K, V>(label: string, verb: string, loader: unknown, options: LoadOptions<K, V>): void {
  if (typeof loader !== "function") {
    throw configError(`${label}: ${verb}() needs a function to load with, got ${describeValue(loader)}.`);
  }
  checkCallOptions(`${label}: ${verb}()`, options, LOAD_OPTIONS);
  const signal: unknown = options.signal;
  if (signal !== undefined && !isAbortSignal(signal)) {
    throw configError(`${label}: ${verb}(): signal must be an AbortSignal, got ${describeValue(signal)}.`);
  }
  if (typeof options.ttlMs !== "function") checkTtl(label, options.ttlMs, Infinity);
  checkIdle(label, options.idleMs);
  if (options.sizeBytes !== undefined) checkSize(label, "sizeBytes", options.sizeBytes);
  checkShare(label, "ttlJitter", options.ttlJitter, 0);
  checkShare(label, "refreshAheadRatio", options.refreshAheadRatio, Number.MIN_VALUE);
  checkDuration(label, "staleWhileRevalidateMs", options.staleWhileRevalidateMs, 0);
  checkDuration(label, "staleIfErrorMs", options.staleIfErrorMs, 0);
  checkDuration(label, "negativeTtlMs", options.negativeTtlMs, 0);
  checkDuration(label, "errorTtlMs", options.errorTtlMs, 0);
  checkDuration(label, "loadTimeoutMs", options.loadTimeoutMs, Number.MIN_VALUE);
}

/** @throws {CacheConfigError} */
export function checkKeys(label: string, keys: unknown): void {
  const isIterable = typeof keys === "object" && keys !== null && Symbol.iterator in keys;
  if (!isIterable) {
    throw configError(
      `${label}: getManyOrLoad() needs an array or another iterable of keys, got ${describeValue(keys)}.`,
    );
  }
}

function checkShare(label: string, name: string, share: unknown, min: number): void {
  if (share === undefined || (typeof share === "number" && share >= min && share <= 1)) return;
  const range = min === 0 ? "from 0 to 1" : "above 0, to 1";
  throw configError(`${label}: ${name} must be a number ${range}, got ${describeValue(share)}.`);
}

function checkDuration(label: string, name: string, ms: unknown, min: number): void {
  if (ms === undefined || (typeof ms === "number" && ms >= min)) return;
  const range = min === 0 ? "of at least 0" : "above 0";
  throw configError(`${label}: ${name} must be a number of milliseconds ${range}, got ${describeValue(ms)}.`);
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
