import { expect, test } from "vitest";
import { LRUCache } from "../src/index.ts";
import { FakeClock } from "./fake-clock.ts";

test("the snapshot is frozen and has these keys and no others", () => {
  const stats = new LRUCache().getStats();
  expect(Object.isFrozen(stats)).toBe(true);
  expect({ ...stats }).toEqual({
    hits: 0,
    misses: 0,
    hit_rate: 0,
    stale_hits: 0,
    stale_on_error: 0,
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
    refreshes: 0,
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

test("the time of access is taken at the first look-up and after every nth hit and miss, or never", async () => {
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

test("a window since an earlier snapshot has the counts and means of the time between, and the gauges of now", async () => {
  const clock = new FakeClock();
  const cache = new LRUCache<string, number>({ capacity: 2, clock });
  const loadIn = async (key: string, ms: number): Promise<number> =>
    await cache.getOrLoad(key, () => {
      clock.advance(ms);
      return ms;
    });
  await loadIn("a", 100);
  cache.get("a");
  const before = cache.getStats();
  await loadIn("b", 20);
  await loadIn("c", 40);
  cache.get("c");
  cache.get("c");
  const window = cache.getStats().since(before);
  expect(window).toMatchObject({ hits: 2, misses: 2, hit_rate: 0.5, sets: 2, evictions: 1, entries: 2, capacity: 2 });
  expect([window.loads_ok, window.load_time_ms, cache.getStats().load_time_ms]).toEqual([2, 30, 160 / 3]);
  expect(Object.isFrozen(window)).toBe(true);
  // Windows of windows: what a scraper that keeps the last one makes.
  expect(cache.getStats().since(cache.getStats())).toMatchObject({ hits: 0, sets: 0, hit_rate: 0, entries: 2 });
});

test("a window over a reset counts from the reset; one since something else than a snapshot is refused", () => {
  const cache = new LRUCache<string, number>();
  cache.set("a", 1);
  cache.get("a");
  const before = cache.getStats();
  cache.resetStats();
  cache.get("x");
  expect(cache.getStats().since(before)).toMatchObject({ hits: 0, misses: 1, sets: 0 });
  expect(() => cache.getStats().since({ ...before })).toThrow(/since\(\) needs an earlier result of getStats\(\)/);
});

test("a window over a reset counts from the reset even when the counters have overtaken the old ones", () => {
  const cache = new LRUCache<string, number>();
  cache.set("a", 1);
  for (let i = 0; i < 10; i++) cache.get("a");
  const before = cache.getStats();
  cache.resetStats();
  for (let i = 0; i < 20; i++) cache.get("a");
  expect(cache.getStats().since(before).hits).toBe(20);
  expect(() => new LRUCache().getStats().since(before)).toThrow(/of the same cache, got another one's/);
});

test("statistics that are asked for while callbacks change the cache add up", () => {
  const clock = new FakeClock();
  const cache: LRUCache<number, number> = new LRUCache<number, number>({
    capacity: 10_000,
    clock,
    cleanupIntervalMs: 0,
    defaultTtlMs: 10,
    onEvict: (key, _, reason) => {
      if (reason !== "expired") return;
      if (key % 100 === 0) cache.cleanupExpired();
      if (key === 7) cache.set(20_000, 1, 1000);
    },
  });
  for (let i = 0; i < 3000; i++) cache.set(i, i);
  clock.advance(10);
  for (let i = 0; i < 3; i++) {
    const { sets, entries, expirations } = cache.getStats();
    expect(sets).toBe(entries + expirations);
  }
  expect(cache.getStats()).toMatchObject({ sets: 3001, entries: 1, expirations: 3000 });
});

test("thousands of expired entries that are still there are counted as gone, not taken out in one go", () => {
  const clock = new FakeClock();
  const cache = new LRUCache<number, number>({
    capacity: 5000,
    clock,
    cleanupIntervalMs: 0,
    defaultTtlMs: 10,
    sizeOf: () => 7,
  });
  for (let i = 0; i < 4000; i++) cache.set(i, i);
  cache.set(5000, 1, 100);
  clock.advance(10);
  // 100 at a time leave; all 4000 count as expired.
  expect(cache.getStats()).toMatchObject({ entries: 1, expirations: 4000, total_size_mb: 7 / 1024 / 1024 });
  expect(cache.size).toBe(1);
  expect(cache.cleanupExpired()).toBe(3800);
  expect(cache.getStats()).toMatchObject({ entries: 1, expirations: 4000, total_size_mb: 7 / 1024 / 1024, sets: 4001 });
});
