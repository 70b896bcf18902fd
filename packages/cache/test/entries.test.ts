import { describe, expect, test } from "vitest";
import { CacheConfigError, CacheTtlError, LRUCache } from "../src/index.ts";
import { FakeClock } from "./fake-clock.ts";

describe("entries", () => {
  test("the least recently used one gives way; get and set use an entry, peek, has and iterating do not", () => {
    const cache = new LRUCache<string, number>({ capacity: 3 });
    for (const key of ["a", "b", "c"]) cache.set(key, 1);
    cache.get("a");
    cache.peek("b");
    cache.has("b");
    void [...cache];
    cache.set("d", 1);
    expect([...cache.keys()]).toEqual(["d", "a", "c"]);
    cache.set("c", 2);
    expect([...cache.keys()]).toEqual(["c", "d", "a"]);
  });

  test("keys may be anything, and are told apart as a Map does", () => {
    const object = {};
    const keys = [
      1,
      "1",
      1n,
      true,
      "true",
      null,
      undefined,
      NaN,
      "",
      "__proto__",
      "constructor",
      Symbol("s"),
      object,
      [],
      () => {},
    ];
    const cache = new LRUCache<unknown, number>();
    for (const [i, key] of keys.entries()) cache.set(key, i);
    expect(cache.size).toBe(keys.length);
    expect(keys.map((key) => cache.get(key))).toEqual(keys.map((_, i) => i));
    expect(cache.get({})).toBe(undefined);
    cache.set(-0, 100);
    expect(cache.get(0)).toBe(100);
  });

  test("values may be undefined and null; has tells them from a miss", () => {
    const cache = new LRUCache<string, unknown>();
    cache.set("undefined", undefined);
    cache.set("null", null);
    expect([cache.get("undefined"), cache.has("undefined"), cache.get("null"), cache.has("other")]).toEqual([
      undefined,
      true,
      null,
      false,
    ]);
    expect(cache.getStats()).toMatchObject({ hits: 2, misses: 0 });
  });

  test("iteration gives the most recent first and bears any change meanwhile", () => {
    const clock = new FakeClock();
    const cache = new LRUCache<number, string>({ clock, capacity: 5 });
    for (let i = 0; i < 5; i++) cache.set(i, `v${i}`, i === 1 ? 10 : 100);
    const seen: [number, string][] = [];
    for (const [key, value] of cache) {
      seen.push([key, value]);
      if (key === 4) {
        cache.delete(3);
        cache.set(9, "new");
        cache.set(2, "changed");
        clock.advance(10);
      }
    }
    expect(seen).toEqual([
      [4, "v4"],
      [2, "changed"],
      [0, "v0"],
    ]);
    expect([...cache.values()]).toEqual(["changed", "new", "v4", "v0"]);
  });

  test("resize keeps the most recent ones, and may grow again", () => {
    const cache = new LRUCache<number, number>({ capacity: 100 });
    for (let i = 0; i < 100; i++) cache.set(i, i);
    cache.resize(2);
    expect([[...cache.keys()], cache.capacity, cache.getStats().evictions_capacity]).toEqual([[99, 98], 2, 98]);
    cache.resize(1000);
    for (let i = 0; i < 1000; i++) cache.set(i, i);
    expect(cache.size).toBe(1000);
    expect(() => cache.resize(0)).toThrow(CacheConfigError);
    // @ts-expect-error: callers without types
    expect(() => cache.resize()).toThrow(/capacity must be given, got undefined/);
    expect(() => cache.resize(Infinity)).toThrow(/A cache needs a limit/);
    expect(() => cache.resize({ capacity: 1.5 })).toThrow(/capacity must be a whole number of at least 1, got 1.5/);
    // @ts-expect-error: callers without types
    expect(() => cache.resize({ max: 5 })).toThrow(/unknown option "max"/);
    expect(cache.capacity).toBe(1000);
  });

  test("resize changes the budget of bytes, too, and weighs what was not weighed before", () => {
    const cache = new LRUCache<number, string>({ capacity: 100, sizeOf: (value) => value.length });
    const unweighed = new LRUCache<number, Buffer>({ capacity: 100 });
    for (let i = 0; i < 10; i++) {
      cache.set(i, "x".repeat(10));
      unweighed.set(i, Buffer.alloc(100_000));
    }
    cache.resize({ maxBytes: 35 });
    expect([[...cache.keys()], cache.maxBytes, cache.capacity]).toEqual([[9, 8, 7], 35, 100]);
    expect(cache.getStats()).toMatchObject({ evictions_bytes: 7, evictions_capacity: 0 });
    cache.resize({ capacity: 2, maxBytes: Infinity });
    expect([[...cache.keys()], cache.maxBytes]).toEqual([[9, 8], Infinity]);
    unweighed.resize({ capacity: Infinity, maxBytes: 300_000 });
    expect(unweighed.size).toBe(2);
  });

  test("a small cache may be resized to more entries than one Map and 16 bits can number", () => {
    const cache = new LRUCache<number, number>({ capacity: 100, defaultTtlMs: 1e6 });
    for (let i = 0; i < 200; i++) cache.set(i, i);
    cache.resize(70_000);
    for (let i = 200; i < 90_000; i++) cache.set(i, i);
    expect(cache.size).toBe(70_000);
    expect([cache.get(20_000), cache.get(19_999), cache.get(89_999)]).toEqual([20_000, undefined, 89_999]);
    cache.resize(1);
    expect([...cache.keys()]).toEqual([89_999]);
  });

  test("iteration goes both ways, and forEach gives a Map's arguments", () => {
    const cache = new LRUCache<string, number>();
    for (const [i, key] of ["a", "b", "c"].entries()) cache.set(key, i);
    expect([...cache.keysReversed()]).toEqual(["a", "b", "c"]);
    expect([...cache.valuesReversed()]).toEqual([0, 1, 2]);
    expect([...cache.entriesReversed()]).toEqual([
      ["a", 0],
      ["b", 1],
      ["c", 2],
    ]);
    const seen: unknown[] = [];
    cache.forEach((value, key, owner) => seen.push([value, key, owner === cache]));
    expect(seen).toEqual([
      [2, "c", true],
      [1, "b", true],
      [0, "a", true],
    ]);
  });

  test("using every entry that iteration gives neither loops for ever nor leaves one out, either way", () => {
    const cache = new LRUCache<number, number>();
    for (let i = 0; i < 100; i++) cache.set(i, i);
    for (const walk of [() => cache.keys(), () => cache.keysReversed()]) {
      const seen: number[] = [];
      for (const key of walk()) {
        seen.push(key);
        cache.get(key);
        cache.set(1000 + key, key);
        cache.delete(key + 1000);
      }
      expect(seen.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, i) => i));
    }
  });

  test("a cleared cache is as good as new", () => {
    const cache = new LRUCache<number, number>({ capacity: 500, maxBytes: 1e6 });
    for (let round = 0; round < 3; round++) {
      for (let i = 0; i < 600; i++) cache.set(i, i);
      expect([cache.size, cache.get(599), cache.get(0)]).toEqual([500, 599, undefined]);
      cache.clear();
      expect([cache.size, cache.get(599), cache.getStats().total_size_mb]).toEqual([0, undefined, 0]);
    }
  });
});

describe("the time to live", () => {
  test("holds for each entry, counts from 0 of the clock, and is over exactly at its end", () => {
    const clock = new FakeClock();
    const cache = new LRUCache<string, number>({ clock, defaultTtlMs: 100 });
    cache.set("default", 1);
    cache.set("zero is the default", 1, 0);
    cache.set("short", 1, 10);
    cache.set("fraction", 1, 0.5);
    cache.set("for ever", 1, { ttlMs: Infinity });
    expect(
      ["default", "zero is the default", "short", "fraction", "for ever", "none"].map((k) =>
        cache.getRemainingTtlMs(k),
      ),
    ).toEqual([100, 100, 10, 0.5, Infinity, undefined]);
    clock.time = 9.99;
    expect([cache.get("short"), cache.get("fraction")]).toEqual([1, undefined]);
    clock.time = 10;
    expect([cache.get("short"), cache.has("short"), cache.getRemainingTtlMs("short")]).toEqual([
      undefined,
      false,
      undefined,
    ]);
    clock.time = 1e12;
    expect([...cache.keys()]).toEqual(["for ever"]);
  });

  test("starts anew when the value is replaced, and not when it is read", () => {
    const clock = new FakeClock();
    const cache = new LRUCache<string, number>({ clock });
    cache.set("a", 1, 10);
    cache.set("b", 1, 10);
    clock.advance(9);
    cache.get("a");
    cache.set("b", 2, 10);
    clock.advance(1);
    expect([cache.get("a"), cache.get("b")]).toEqual([undefined, 2]);
  });

  test("that is over makes an entry go before any live one", () => {
    const clock = new FakeClock();
    const cache = new LRUCache<string, number>({ clock, capacity: 3 });
    cache.set("old but live", 1);
    cache.set("a", 1, 5);
    cache.set("b", 1, 5);
    clock.advance(5);
    cache.set("c", 1);
    cache.set("d", 1);
    expect([...cache.keys()]).toEqual(["d", "c", "old but live"]);
    expect(cache.getStats()).toMatchObject({ evictions: 0, expirations: 2 });
  });

  test("that is no time is refused, and nothing has changed", () => {
    const cache = new LRUCache<string, number>({ name: "answers" });
    cache.set("a", 1);
    for (const ttl of [-1, NaN, "5m", null, true, []]) {
      // @ts-expect-error: callers without types
      expect(() => cache.set("a", 2, ttl)).toThrow(CacheTtlError);
      // @ts-expect-error: callers without types
      expect(() => cache.set("a", 2, { ttlMs: ttl })).toThrow(CacheTtlError);
    }
    expect(() => cache.set("a", 2, -1)).toThrow(
      'LRUCache "answers": ttlMs must be a number of milliseconds above 0, got -1. Infinity is for ever; ' +
        "leave it out for the default. Nothing was stored.",
    );
    // @ts-expect-error: callers without types
    expect(() => cache.set("a", 2, { ttl: 5 })).toThrow(
      /unknown option "ttl". Known options: ttlMs, idleMs, ttlJitter, sizeBytes/,
    );
    expect(() => cache.set("a", 2, -1)).toThrow(expect.objectContaining({ code: "ERR_VG_CACHE_TTL" }));
    expect([cache.get("a"), cache.getStats().sets]).toEqual([1, 1]);
  });

  test("is not defined by a clock that gives no number: set refuses it, what has a TTL is over, and nothing hangs", () => {
    for (const broken of [NaN, undefined, Infinity, "12", 5n, new Date(0)]) {
      let time: unknown = 0;
      // @ts-expect-error: callers without types
      const cache = new LRUCache<string, number>({ clock: { now: () => time }, capacity: 10 });
      cache.set("a", 1, 10);
      cache.set("b", 1, 10);
      cache.set("b", 1, 20);
      cache.set("freed", 1, 10);
      cache.delete("freed");
      cache.set("for ever", 1, Infinity);
      time = broken;
      expect(() => cache.set("c", 1)).toThrow(CacheConfigError);
      expect(() => cache.set("c", 1)).toThrow(/clock.now\(\) must give a finite number of milliseconds, got/);
      // A string is compared as a number, and a Date or a bigint is one, too.
      time = typeof broken === "number" || broken === undefined ? broken : NaN;
      expect([cache.has("a"), cache.get("a"), cache.peek("b"), cache.getRemainingTtlMs("b")]).toEqual([
        false,
        undefined,
        undefined,
        undefined,
      ]);
      expect(cache.size).toBe(1);
      cache.resize(1);
      expect([cache.cleanupExpired(), cache.getStats().entries, cache.get("for ever")]).toEqual([0, 1, 1]);
      time = 1000;
      expect(cache.set("c", 1)).toBe(true);
      expect(cache.getStats()).toMatchObject({ sets: 6, entries: 1, expirations: 2, evictions: 1 });
    }
  });

  test("that is shorter than the clock can tell is over at once", () => {
    const clock = new FakeClock();
    clock.time = 1000;
    const cache = new LRUCache<string, number>({ clock });
    expect([cache.set("a", 1, 1e-320), cache.has("a"), cache.size]).toEqual([true, false, 0]);
  });

  test("is by the process's own clock unless another one is given", () => {
    const cache = new LRUCache<string, number>();
    cache.set("a", 1, 60_000);
    const remaining = cache.getRemainingTtlMs("a")!;
    expect(remaining).toBeGreaterThan(0);
    expect(remaining).toBeLessThanOrEqual(60_000);
  });
});
