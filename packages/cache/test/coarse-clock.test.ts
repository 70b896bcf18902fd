import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { LRUCache } from "../src/index.ts";
import { FakeClock } from "./fake-clock.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("with an exact clock no entry is served late, not even inside one stretch of program", () => {
  const clock = new FakeClock();
  const cache = new LRUCache<string, number>({ clock });
  cache.set("a", 1, 10);
  for (let i = 0; i < 5; i++) cache.get("a");
  clock.advance(10);
  expect([cache.get("a"), cache.has("a"), cache.peek("a")]).toEqual([undefined, false, undefined]);
});

test("with a coarse one an entry is late by its resolution at most, once the event loop turns", () => {
  const clock = new FakeClock();
  const cache = new LRUCache<string, number>({ clock, clockResolutionMs: 5 });
  cache.set("a", 1, 10);
  clock.advance(10);
  expect(cache.get("a")).toBe(1);
  vi.advanceTimersByTime(5);
  expect(cache.get("a")).toBe(undefined);
});

test("inside one stretch of program a coarse one is late by 32 uses at most, by misses and sets, too", () => {
  const uses: ((cache: LRUCache<string, number>, i: number) => void)[] = [
    (cache) => void cache.get("b"),
    (cache) => void cache.peek("b"),
    (cache, i) => void cache.set(`other ${i}`, 1),
  ];
  for (const use of uses) {
    const clock = new FakeClock();
    const cache = new LRUCache<string, number>({ clock, clockResolutionMs: 1000 });
    cache.set("b", 2, 1e6);
    cache.set("a", 1, 10);
    clock.advance(10);
    for (let i = 0; i < 32; i++) use(cache, i);
    expect(cache.get("a")).toBe(undefined);
  }
});

test("a coarse clock reads the time once in 32 look-ups, an exact one at each", () => {
  const readings = (clockResolutionMs: number): number => {
    let count = 0;
    const clock = {
      now: () => {
        count++;
        return 0;
      },
    };
    const cache = new LRUCache<string, number>({ clock, clockResolutionMs, cleanupIntervalMs: 0, timeEveryNthGet: 0 });
    cache.set("a", 1);
    for (let i = 0; i < 319; i++) cache.get("a");
    return count;
  };
  expect([readings(0), readings(1)]).toEqual([320, 10]);
});

test("its timer is one, unref'd, and rests while nothing is used", () => {
  const cache = new LRUCache<string, number>({ clockResolutionMs: 1, cleanupIntervalMs: 0 });
  cache.set("a", 1);
  for (let i = 0; i < 100; i++) cache.get("a");
  expect(vi.getTimerCount()).toBe(1);
  vi.advanceTimersByTime(1);
  expect(vi.getTimerCount()).toBe(0);
});

test("close leaves no timer of it behind, and a lost timer is replaced", () => {
  const clock = new FakeClock();
  const cache = new LRUCache<string, number>({ clock, clockResolutionMs: 1000, cleanupIntervalMs: 0 });
  cache.set("a", 1);
  vi.clearAllTimers();
  clock.advance(11_000);
  for (let i = 0; i < 33; i++) cache.get("a");
  expect(vi.getTimerCount()).toBe(1);
  cache.close();
  expect(vi.getTimerCount()).toBe(0);
});

test("fake timers that are installed after the cache was made are its time", () => {
  vi.useRealTimers();
  const cache = new LRUCache<string, number>();
  vi.useFakeTimers();
  cache.set("a", 1, 1000);
  vi.advanceTimersByTime(999);
  expect(cache.get("a")).toBe(1);
  vi.advanceTimersByTime(1);
  expect(cache.get("a")).toBe(undefined);
});
