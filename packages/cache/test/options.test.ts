import { expect, test } from "vitest";
import { CacheConfigError, CacheError, LRUCache } from "../src/index.ts";

test.each<[string, unknown, string]>([
  [
    "capacity of 0",
    { capacity: 0 },
    "LRUCache: capacity must be a whole number of at least 1, got 0. It is the number of entries.",
  ],
  ["a cache without any limit", { capacity: Infinity }, "A cache needs a limit: capacity, maxBytes, or both."],
  ["a capacity of NaN", { capacity: NaN }, "got NaN"],
  ["a negative capacity", { capacity: -5 }, "got -5"],
  ["fractional capacity", { capacity: 1.5 }, "got 1.5"],
  ["capacity as text", { capacity: "10" }, 'got "10"'],
  ["defaultTtlMs of 0", { defaultTtlMs: 0 }, "Infinity makes entries that never expire"],
  ["negative defaultTtlMs", { defaultTtlMs: -1 }, "defaultTtlMs must be"],
  ["defaultTtlMs of NaN", { defaultTtlMs: NaN }, "got NaN"],
  ["maxBytes of 0", { maxBytes: 0 }, "Leave it out for no limit."],
  ["sizeOf that is no function", { sizeOf: 1 }, "sizeOf must be a function"],
  ["another policy", { policy: "fifo" }, 'policy must be one of "lru", "sieve", "s3fifo", "tinylfu", got "fifo"'],
  ["cleanupIntervalMs beyond a timer", { cleanupIntervalMs: 2 ** 31 }, "cleanupIntervalMs must be"],
  ["onEvict that is no function", { onEvict: "log" }, "onEvict must be a function"],
  ["onError that is no function", { onError: {} }, "onError must be a function"],
  ["timeEveryNthGet below 0", { timeEveryNthGet: -1 }, "timeEveryNthGet must be"],
  ["a clock without now", { clock: {} }, "clock must be an object with now()"],
  ["an empty name", { name: "" }, "name must be a string that is not empty"],
  ["a clock resolution beyond a second", { clockResolutionMs: 5000 }, "from 0 to 1000, got 5000"],
  ["an idle time of 0", { defaultIdleMs: 0 }, "defaultIdleMs must be a number of milliseconds above 0, got 0"],
  ["a jitter above 1", { ttlJitter: 1.5 }, "ttlJitter must be a number from 0 to 1, got 1.5"],
  ["a refresh ratio of 0", { refreshAheadRatio: 0 }, "refreshAheadRatio must be above 0, got 0"],
  ["a stale window of NaN", { staleWhileRevalidateMs: NaN }, "got NaN"],
  ["a load timeout of 0", { loadTimeoutMs: 0 }, "loadTimeoutMs must be"],
  ["a random that is no function", { random: 4 }, "random must be a function"],
  ["a misspelt option", { capactiy: 5 }, 'unknown option "capactiy". Did you mean capacity?'],
  ["no object", "lru", "options must be an object"],
])("%s is refused with what was received and what to do", (_, options, message) => {
  let error: unknown;
  try {
    Reflect.construct(LRUCache, [options]);
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(CacheConfigError);
  expect(error).toBeInstanceOf(CacheError);
  expect(error).toMatchObject({
    code: "ERR_VG_CACHE_CONFIG",
    name: "CacheConfigError",
    message: expect.stringContaining(message),
  });
});

test("a budget of bytes is a limit of its own: there is no other unless it is given", () => {
  // As many entries as bytes, for values that weigh nothing.
  expect(new LRUCache({ maxBytes: 1e6 }).capacity).toBe(1e6);
  expect(new LRUCache({ maxBytes: 1e6, capacity: 5 }).capacity).toBe(5);
  expect(new LRUCache({ maxBytes: 1e6, capacity: Infinity }).capacity).toBe(1e6);
  // @ts-expect-error: a limit is a number
  expect(() => new LRUCache({ capacity: null })).toThrow(/capacity must be a whole number/);
  // @ts-expect-error: nor is there a word for "no limit"
  expect(() => new LRUCache({ maxBytes: false })).toThrow(/maxBytes must be a whole number/);
});

test("everything has a default, and undefined means the default", () => {
  const cache = new LRUCache({ capacity: undefined, maxBytes: Infinity, policy: "lru", onEvict: undefined });
  cache.set("a", 1);
  expect([cache.name, cache.capacity, Math.ceil(cache.getRemainingTtlMs("a")! / 1000)]).toEqual(["cache", 1000, 3600]);
});
