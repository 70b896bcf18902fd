import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { LRUCache } from "../src/index.ts";
import { FakeClock } from "./fake-clock.ts";

describe("the cleanup in the background", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  test("takes expired entries out without being asked, and rests while nothing can expire", () => {
    const left: string[] = [];
    const cache = new LRUCache<string, number>({
      cleanupIntervalMs: 1000,
      defaultTtlMs: Infinity,
      onEvict: (key, _, reason) => void left.push(`${key} ${reason}`),
    });
    cache.set("for ever", 1);
    expect(vi.getTimerCount()).toBe(0);
    cache.set("a", 1, 1500);
    expect(vi.getTimerCount()).toBe(1);
    vi.advanceTimersByTime(1000);
    expect(left).toEqual([]);
    vi.advanceTimersByTime(1000);
    expect(left).toEqual(["a expired"]);
    vi.advanceTimersByTime(1000);
    expect(vi.getTimerCount()).toBe(0);
    cache.set("b", 1, 10);
    expect(vi.getTimerCount()).toBe(1);
  });

  test("does a bounded piece of work at a time, with pauses in between", () => {
    let expired = 0;
    const cache = new LRUCache<number, number>({
      capacity: 5000,
      cleanupIntervalMs: 1000,
      onEvict: () => void expired++,
    });
    for (let i = 0; i < 2500; i++) cache.set(i, i, 500);
    const progress = [1000, 1, 1, 1].map((ms) => {
      vi.advanceTimersByTime(ms);
      return expired;
    });
    expect(progress).toEqual([500, 1000, 1500, 2000]);
  });

  test("is off with 0, and stops for good with close() or using; the cache works on", () => {
    const off = new LRUCache<string, number>({ cleanupIntervalMs: 0 });
    off.set("a", 1);
    expect(vi.getTimerCount()).toBe(0);
    let escaped: LRUCache<string, number>;
    {
      using cache = new LRUCache<string, number>({ cleanupIntervalMs: 10 });
      cache.set("a", 1);
      expect(vi.getTimerCount()).toBe(1);
      escaped = cache;
    }
    expect(vi.getTimerCount()).toBe(0);
    expect(escaped.set("b", 2, 5)).toBe(true);
    expect(escaped.get("a")).toBe(1);
    escaped.close();
    expect(vi.getTimerCount()).toBe(0);
    const early = new LRUCache<string, number>({ cleanupIntervalMs: 10 });
    early.close();
    early.set("a", 1);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("goes on after a clock that threw once", () => {
    let broken = false;
    let now = 0;
    const clock = {
      now: () => {
        if (broken) throw new Error("no time");
        return now;
      },
    };
    const left: string[] = [];
    const cache = new LRUCache<string, number>({
      clock,
      cleanupIntervalMs: 10,
      onEvict: (key) => void left.push(key),
    });
    cache.set("a", 1, 5);
    broken = true;
    expect(() => vi.advanceTimersByTime(10)).toThrow("no time");
    broken = false;
    now = 20;
    vi.advanceTimersByTime(10);
    expect(left).toEqual(["a"]);
  });

  test("comes back when its timer was taken away", () => {
    const clock = new FakeClock();
    const left: string[] = [];
    const cache = new LRUCache<string, number>({
      clock,
      cleanupIntervalMs: 10,
      onEvict: (key) => void left.push(key),
    });
    cache.set("a", 1, 5);
    vi.clearAllTimers();
    clock.advance(61_000);
    cache.set("b", 1, 1e6);
    vi.advanceTimersByTime(10);
    expect(left).toEqual(["a"]);
  });

  test("may be stopped by a callback of the sweep itself", () => {
    const clock = new FakeClock();
    const cache: LRUCache<string, number> = new LRUCache<string, number>({
      clock,
      cleanupIntervalMs: 10,
      onEvict: () => cache.close(),
    });
    cache.set("a", 1, 5);
    cache.set("b", 1, 1000);
    clock.advance(5);
    vi.advanceTimersByTime(10);
    expect(vi.getTimerCount()).toBe(0);
  });
});

function run(source: string, ...flags: string[]): string {
  return execFileSync(
    process.execPath,
    ["--conditions=@vg/source", ...flags, "--input-type=module", "--eval", source],
    { cwd: fileURLToPath(new URL("..", import.meta.url)), encoding: "utf8", timeout: 20_000 },
  );
}

describe("a process with a cache", () => {
  test("ends by itself although entries wait for the cleanup", () => {
    const out = run(`
      import { LRUCache } from "@vg/cache";
      const cache = new LRUCache({ cleanupIntervalMs: 1000 });
      cache.set("a", 1);
      process.on("exit", () => console.log("ended with", cache.size));
    `);
    expect(out).toBe("ended with 1\n");
  });

  test("frees a cache that was dropped without close()", () => {
    const out = run(
      `
      import { setImmediate as turn } from "node:timers/promises";
      import { LRUCache } from "@vg/cache";
      const dropped = [];
      const registry = new FinalizationRegistry((name) => dropped.push(name));
      (() => {
        const cache = new LRUCache({ cleanupIntervalMs: 1e6 });
        cache.set("a", 1);
        registry.register(cache, "collected");
      })();
      for (let i = 0; i < 1000 && dropped.length === 0; i++) {
        gc();
        await turn();
      }
      console.log(dropped[0]);
    `,
      "--expose-gc",
    );
    expect(out).toBe("collected\n");
  });
});
