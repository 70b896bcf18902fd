import { describe, expect, test } from "vitest";
import { LRUCache } from "../src/index.ts";
import { FakeClock } from "./fake-clock.ts";
import { EXACT_LRU_HITS, readTrace, TRACES_MISSING } from "./traces.ts";

/** One `get` an event, a `set` after a miss; time passes, so that deadlines are kept and moved. */
function hits(events: number[], capacity: number): number {
  const clock = new FakeClock();
  const cache = new LRUCache<number, number>({ capacity, clock, defaultTtlMs: 1e9, cleanupIntervalMs: 0 });
  for (const key of events) {
    clock.advance(1);
    if (cache.get(key) === undefined) cache.set(key, key);
  }
  const stats = cache.getStats();
  expect(stats.hits + stats.misses).toBe(events.length);
  expect(stats.sets).toBe(stats.entries + stats.evictions);
  return stats.hits;
}

describe.skipIf(TRACES_MISSING)(
  "on real traces (skipped when ../shared/traces is not there) it hits as exact LRU does",
  () => {
    test.each(Object.entries(EXACT_LRU_HITS))("%s", (name, expected) => {
      const events = readTrace(name);
      const found = Object.keys(expected).map((capacity) => [capacity, hits(events, Number(capacity))]);
      expect(found).toEqual(Object.entries(expected));
    });
  },
);
