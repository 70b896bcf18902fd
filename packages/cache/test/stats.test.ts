import { expect, test } from "vitest";
import { LRUCache } from "../src/index.ts";

test("the snapshot is frozen and has these keys and no others", () => {
  const stats = new LRUCache().getStats();
  expect(Object.isFrozen(stats)).toBe(true);
  expect(stats).toEqual({
    hits: 0,
    misses: 0,
    hit_rate: 0,
    evictions: 0,
    evictions_capacity: 0,
    evictions_bytes: 0,
    expirations: 0,
    entries: 0,
    capacity: 1000,
    total_size_mb: 0,
    max_size_mb: 0,
    avg_access_time: 0,
    sets: 0,
    deletes: 0,
    replaced: 0,
    cleared: 0,
    rejected_too_large: 0,
    loads_ok: 0,
    loads_failed: 0,
    loads_abandoned: 0,
    loads_deduplicated: 0,
    loads_in_flight: 0,
    load_time_ms: 0,
    callback_errors: 0,
  });
});

test("the hit rate is a share from 0 to 1; peek and has do not count", () => {
  const cache = new LRUCache<string, number>();
  cache.set("a", 1);
  for (const key of ["a", "a", "a", "b"]) cache.get(key);
  cache.peek("a");
  cache.has("b");
  expect(cache.getStats()).toMatchObject({ hits: 3, misses: 1, hit_rate: 0.75 });
});

test("the time of access is taken at the first look-up and every nth one after it, or never", async () => {
  const cache = new LRUCache<string, number>({ timeEveryNthGet: 4 });
  const off = new LRUCache<string, number>({ timeEveryNthGet: 0 });
  const loading = new LRUCache<string, number>();
  expect(cache.getStats().avg_access_time).toBe(0);
  cache.get("a");
  await loading.getOrLoad("a", () => 1);
  expect(loading.getStats().avg_access_time).toBeGreaterThan(0);
  for (let i = 0; i < 1000; i++) off.get("a");
  expect(cache.getStats().avg_access_time).toBeGreaterThan(0);
  expect(off.getStats().avg_access_time).toBe(0);
});

test("resetStats starts all counters anew and leaves the entries; clear leaves the counters", () => {
  const cache = new LRUCache<string, number>({
    capacity: 1,
    timeEveryNthGet: 1,
    onEvict: () => {
      throw new Error("no");
    },
    onError: () => {},
  });
  cache.set("a", 1);
  cache.set("b", 1);
  cache.get("b");
  cache.clear();
  expect(cache.getStats()).toMatchObject({ sets: 2, hits: 1, evictions: 1, cleared: 1, callback_errors: 2 });
  cache.set("c", 1);
  cache.resetStats();
  expect(cache.getStats()).toMatchObject({
    sets: 0,
    hits: 0,
    evictions: 0,
    cleared: 0,
    callback_errors: 0,
    avg_access_time: 0,
    entries: 1,
  });
});
