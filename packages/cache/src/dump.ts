import { describeValue } from "@vg/internal";
import type { EntryTable } from "./entries/entry-table.ts";
import { CacheDumpError } from "./errors.ts";

/** One entry of a dump. */
export interface CacheDumpEntry<K, V> {
  readonly key: K;
  readonly value: V;
  /** What was left of its TTL at `takenAt`; null: it never expires. */
  readonly remainingTtlMs: number | null;
  /** Its idle time, and what was left of that at `takenAt`, if it has one. Being loaded is a use. */
  readonly idleMs?: number;
  readonly remainingIdleMs?: number;
  /** The size it was stored with, if the cache weighs values. */
  readonly sizeBytes?: number;
}

/**
 * The live entries of a cache, most recently used first. It survives JSON (and structured clone) if its keys and values
 * do, and fits any process: TTLs are what was left of them, not points on a clock that starts anew. JSON drops a value
 * that is undefined, so an entry without one stands for that.
 */
export interface CacheDump<K, V> {
  readonly version: 1;
  /** When it was taken, in milliseconds since 1970 (`Date.now()`). */
  readonly takenAt: number;
  readonly entries: readonly CacheDumpEntry<K, V>[];
}

/** What of the entries is live at `now`. */
export function dumpEntries<K, V>(entries: EntryTable<K, V>, now: number): CacheDumpEntry<K, V>[] {
  const { lifetimes } = entries;
  const dumped: CacheDumpEntry<K, V>[] = [];
  for (const slot of entries.slots()) {
    const freshUntil = lifetimes === undefined ? Infinity : lifetimes.freshUntil[slot]!;
    if (freshUntil !== Infinity && !(freshUntil > now)) continue;
    const cap = lifetimes === undefined ? Infinity : lifetimes.cap(slot);
    const idleMs = lifetimes === undefined ? Infinity : lifetimes.idleMs(slot);
    dumped.push({
      key: entries.key(slot),
      value: entries.value(slot),
      remainingTtlMs: cap === Infinity ? null : cap - now,
      ...(idleMs === Infinity ? {} : { idleMs, remainingIdleMs: freshUntil - now }),
      ...(entries.isWeighing ? { sizeBytes: entries.size(slot) } : {}),
    });
  }
  return dumped;
}

/** An entry to store, with what is left of its times. */
interface Restored<K, V> {
  readonly key: K;
  readonly value: V;
  readonly ttlMs: number;
  readonly idleMs: number;
  readonly sizeBytes: number | undefined;
}

/** What of a dump is still live after `elapsedMs`; at most `limit` entries. */
export function liveEntries<K, V>(dump: CacheDump<K, V>, elapsedMs: number, limit: number): Restored<K, V>[] {
  return dump.entries
    .filter(
      ({ remainingTtlMs, remainingIdleMs }) =>
        (remainingTtlMs === null || remainingTtlMs > elapsedMs) &&
        (remainingIdleMs === undefined || remainingIdleMs > elapsedMs),
    )
    .slice(0, limit)
    .map(({ key, value, remainingTtlMs, idleMs = Infinity, sizeBytes }) => ({
      key,
      value,
      ttlMs: remainingTtlMs === null ? Infinity : remainingTtlMs - elapsedMs,
      idleMs,
      sizeBytes,
    }));
}

/** Checks the whole dump, so that a bad one changes nothing. @throws {CacheDumpError} */
export function checkDump<K, V>(label: string, dump: CacheDump<K, V>): void {
  const refuse = (what: string, got: unknown): Error =>
    new CacheDumpError(
      `${label}: ${what}, got ${describeValue(got)}. load() takes what dump() gave, as it was; nothing was loaded.`,
    );
  if (typeof dump !== "object" || dump === null) throw refuse("a dump must be an object", dump);
  // Callers without types, and dumps that were read from a file, can hold anything.
  const { version, takenAt, entries }: { version: unknown; takenAt: unknown; entries: unknown } = dump;
  if (version !== 1) throw refuse("a dump must be of version 1", version);
  if (typeof takenAt !== "number" || !Number.isFinite(takenAt)) throw refuse("takenAt must be a time", takenAt);
  if (!Array.isArray(entries)) throw refuse("entries must be an array", entries);
  for (const [i, entry] of (entries as unknown[]).entries()) {
    if (typeof entry !== "object" || entry === null) throw refuse(`entries[${i}] must be an object`, entry);
    if (!("key" in entry)) throw refuse(`entries[${i}] must have a key`, entry);
    const ttl: unknown = "remainingTtlMs" in entry ? entry.remainingTtlMs : undefined;
    const size: unknown = "sizeBytes" in entry ? entry.sizeBytes : undefined;
    for (const name of ["idleMs", "remainingIdleMs"] as const) {
      const ms: unknown = (entry as Record<string, unknown>)[name];
      if (ms !== undefined && !(typeof ms === "number" && ms > 0)) {
        throw refuse(`entries[${i}].${name} must be a number above 0`, ms);
      }
    }
    if (ttl !== null && !(typeof ttl === "number" && ttl > 0)) {
      throw refuse(`entries[${i}].remainingTtlMs must be a number above 0 or null`, ttl);
    }
    if (size !== undefined && !(typeof size === "number" && Number.isSafeInteger(size) && size >= 0)) {
      throw refuse(`entries[${i}].sizeBytes must be a whole number of at least 0`, size);
    }
  }
}
