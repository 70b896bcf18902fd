import { describe, expect, test } from "vitest";
import { CacheConfigError, CacheDumpError, LRUCache } from "../src/index.ts";
import type { CacheDump } from "../src/index.ts";
import { FakeClock } from "./fake-clock.ts";

function filled(): { cache: LRUCache<string, number>; clock: FakeClock } {
  const clock = new FakeClock();
  clock.time = 5_000_000;
  const cache = new LRUCache<string, number>({ clock, capacity: 10 });
  cache.set("for ever", 1, Infinity);
  cache.set("long", 2, 1000);
  cache.set("short", 3, 100);
  cache.get("for ever");
  return { cache, clock };
}

describe("dump and load", () => {
  test("carry entries, their order and what is left of their TTLs to a process with another clock, through JSON", () => {
    const { cache, clock } = filled();
    clock.advance(50);
    const dump: CacheDump<string, number> = JSON.parse(JSON.stringify(cache.dump()));
    expect(dump.entries).toEqual([
      { key: "for ever", value: 1, remainingTtlMs: null },
      { key: "short", value: 3, remainingTtlMs: 50 },
      { key: "long", value: 2, remainingTtlMs: 950 },
    ]);
    const other = new LRUCache<string, number>({ clock: new FakeClock(), capacity: 10 });
    expect(other.load(dump, { elapsedMs: 0 })).toBe(3);
    expect([...other]).toEqual([...cache]);
    expect(["for ever", "short", "long"].map((key) => other.getRemainingTtlMs(key))).toEqual([Infinity, 50, 950]);
  });

  test("the time in between counts: by the wall clock, or as told", () => {
    const { cache } = filled();
    const dump = cache.dump();
    const told = new LRUCache<string, number>({ clock: new FakeClock() });
    expect(told.load(dump, { elapsedMs: 100 })).toBe(2);
    expect([told.has("short"), told.getRemainingTtlMs("long")]).toEqual([false, 900]);
    const byWallClock = new LRUCache<string, number>({ clock: new FakeClock() });
    expect(byWallClock.load({ ...dump, takenAt: Date.now() - 60_000 })).toBe(1);
    const fromTheFuture = new LRUCache<string, number>({ clock: new FakeClock() });
    expect(fromTheFuture.load({ ...dump, takenAt: Date.now() + 60_000 })).toBe(3);
    expect(fromTheFuture.getRemainingTtlMs("long")).toBe(1000);
    expect(() => told.load(dump, { elapsedMs: -1 })).toThrow(CacheConfigError);
    for (const options of [null, 5, []]) {
      // @ts-expect-error: callers without types
      expect(() => told.load(dump, options)).toThrow(/load\(\): options must be an object, got/);
    }
  });

  test("a smaller cache takes the most recent ones; sizes travel along", () => {
    const { cache } = filled();
    const small = new LRUCache<string, number>({ capacity: 2, sizeOf: () => 5, clock: new FakeClock() });
    expect(small.load(cache.dump(), { elapsedMs: 0 })).toBe(2);
    expect([...small.keys()]).toEqual(["for ever", "short"]);
    expect(small.getStats()).toMatchObject({ sets: 2, evictions: 0 });
    expect(small.dump().entries.map(({ sizeBytes }) => sizeBytes)).toEqual([5, 5]);
  });

  test("a value that is undefined comes back, although JSON drops it", () => {
    const cache = new LRUCache<string, number | undefined>();
    cache.set("known to be none", undefined);
    cache.set("a", 1);
    const dump: CacheDump<string, number | undefined> = JSON.parse(JSON.stringify(cache.dump()));
    const other = new LRUCache<string, number | undefined>();
    expect(other.load(dump, { elapsedMs: 0 })).toBe(2);
    expect([...other]).toEqual([
      ["a", 1],
      ["known to be none", undefined],
    ]);
  });

  test("an entry that expires while the dump is taken does not make the dump one that load refuses", () => {
    let time = 0;
    const cache = new LRUCache<string, number>({ clock: { now: () => time++ } });
    cache.set("a", 1, 2);
    cache.set("b", 1, 100);
    const dump = cache.dump();
    expect(dump.entries.every(({ remainingTtlMs }) => remainingTtlMs! > 0)).toBe(true);
    expect(new LRUCache<string, number>().load(dump)).toBe(1);
  });

  test.each<[string, unknown]>([
    ["no dump", null],
    ["an unknown version", { version: 2, takenAt: 0, entries: [] }],
    ["no time", { version: 1, entries: [] }],
    ["no entries", { version: 1, takenAt: 0 }],
    ["an entry that is none", { version: 1, takenAt: 0, entries: [5] }],
    ["an entry without key", { version: 1, takenAt: 0, entries: [{ value: 1, remainingTtlMs: 1 }] }],
    ["an entry without TTL", { version: 1, takenAt: 0, entries: [{ key: "a", value: 1 }] }],
    ["a bad TTL", { version: 1, takenAt: 0, entries: [{ key: "a", value: 1, remainingTtlMs: -1 }] }],
    ["a bad size", { version: 1, takenAt: 0, entries: [{ key: "a", value: 1, remainingTtlMs: 1, sizeBytes: 0.5 }] }],
  ])("%s is refused, and nothing is loaded", (_, dump) => {
    const cache = new LRUCache<string, number>();
    const good = { key: "good", value: 1, remainingTtlMs: null };
    const mixed =
      typeof dump === "object" && dump !== null && "entries" in dump && Array.isArray(dump.entries)
        ? { ...dump, entries: [good, ...dump.entries] }
        : dump;
    // @ts-expect-error: callers without types
    expect(() => cache.load(mixed)).toThrow(CacheDumpError);
    expect(cache.size).toBe(0);
  });
});
