import { expect, test } from "vitest";
import { CacheConfigError, CacheError, LRUCache } from "../src/index.ts";

test.each<[string, unknown, string]>([
  ["capacity of 0", { capacity: 0 }, "LRUCache: capacity must be a whole number from 1 to 8388608, got 0."],
  ["capacity beyond V8's Map", { capacity: 2 ** 23 + 1 }, "Spread a larger set over several caches."],
  ["fractional capacity", { capacity: 1.5 }, "got 1.5"],
  ["capacity as text", { capacity: "10" }, 'got "10"'],
  ["defaultTtlMs of 0", { defaultTtlMs: 0 }, "Infinity makes entries that never expire"],
  ["negative defaultTtlMs", { defaultTtlMs: -1 }, "defaultTtlMs must be"],
  ["defaultTtlMs of NaN", { defaultTtlMs: NaN }, "got NaN"],
  ["maxBytes of 0", { maxBytes: 0 }, "Leave it out for no limit."],
  ["sizeOf that is no function", { sizeOf: 1 }, "sizeOf must be a function"],
  ["another policy", { policy: "fifo" }, 'policy must be one of "lru", got "fifo"'],
  ["cleanupIntervalMs beyond a timer", { cleanupIntervalMs: 2 ** 31 }, "cleanupIntervalMs must be"],
  ["onEvict that is no function", { onEvict: "log" }, "onEvict must be a function"],
  ["onError that is no function", { onError: {} }, "onError must be a function"],
  ["timeEveryNthGet below 0", { timeEveryNthGet: -1 }, "timeEveryNthGet must be"],
  ["a clock without now", { clock: {} }, "clock must be an object with now()"],
  ["an empty name", { name: "" }, "name must be a string that is not empty"],
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

test("everything has a default, and undefined means the default", () => {
  const cache = new LRUCache({ capacity: undefined, maxBytes: Infinity, policy: "lru", onEvict: undefined });
  cache.set("a", 1);
  expect([cache.name, cache.capacity, Math.ceil(cache.getRemainingTtlMs("a")! / 1000)]).toEqual(["cache", 1000, 3600]);
});
