import { checkOptions, describeValue } from "@vg/internal";
import { CacheSizeError, CacheTtlError } from "./errors.ts";
import { CAPACITY_RULE, configError } from "./options.ts";
import type { LoadOptions } from "./options.ts";

/*
 * Checks of what the verbs are called with. `label` names the cache. All of them run before anything is changed.
 */

/** Checks the argument of `resize`. @throws {CacheConfigError} */
export function checkCapacity(label: string, capacity: number): number {
  return checkOptions(`${label}: resize()`, { capacity }, configError).integer("capacity", {
    fallback: NaN,
    ...CAPACITY_RULE,
  });
}

/** The TTL to use. @throws {CacheTtlError} */
export function checkTtl(label: string, ttlMs: number | undefined, defaultTtlMs: number): number {
  if (ttlMs === undefined || ttlMs === 0) return defaultTtlMs;
  if (typeof ttlMs === "number" && ttlMs > 0) return ttlMs;
  throw new CacheTtlError(
    `${label}: ttlMs must be a number of milliseconds above 0, got ${describeValue(ttlMs)}. ` +
      `Infinity is for ever; leave it out for the default of ${defaultTtlMs} ms. Nothing was stored.`,
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

/** Refuses options of a call that no version knows: a misspelt `ttlMs` would otherwise mean the default TTL. */
export function checkCallOptions(label: string, options: object, known: readonly string[]): void {
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) {
      throw configError(`${label}: unknown option ${JSON.stringify(name)}. Known options: ${known.join(", ")}.`);
    }
  }
}
