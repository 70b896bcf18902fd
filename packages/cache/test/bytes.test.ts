import { describe, expect, test } from "vitest";
import { CacheSizeError, estimateSize, LRUCache } from "../src/index.ts";

const MB = 1024 * 1024;
const bytes = (cache: LRUCache<string, string>): number => cache.getStats().total_size_mb * MB;

describe("the budget of bytes", () => {
  test("evicts the least recently used ones until all values fit", () => {
    const cache = new LRUCache<string, Buffer>({ maxBytes: 3 * MB, sizeOf: (value) => value.length });
    for (const key of ["a", "b", "c"]) cache.set(key, Buffer.alloc(MB));
    cache.get("a");
    cache.set("d", Buffer.alloc(2 * MB));
    expect([...cache.keys()]).toEqual(["d", "a"]);
    expect(cache.getStats()).toMatchObject({ total_size_mb: 3, max_size_mb: 3, evictions_bytes: 2, evictions: 2 });
  });

  test("refuses what alone is too large, and forgets the old value of its key", () => {
    const cache = new LRUCache<string, string>({ maxBytes: 10, sizeOf: (value, key) => value.length + key.length });
    expect(cache.set("k", "123456789")).toBe(true);
    cache.set("k", "1");
    expect(cache.set("k", "1234567890")).toBe(false);
    expect(cache.has("k")).toBe(false);
    expect(cache.getStats()).toMatchObject({
      rejected_too_large: 1,
      sets: 2,
      replaced: 2,
      entries: 0,
      total_size_mb: 0,
    });
  });

  test("counts an explicit size, else sizeOf, else the estimate", () => {
    const estimated = new LRUCache<string, string>({ maxBytes: 1000 });
    estimated.set("a", "12345");
    expect(bytes(estimated)).toBe(estimateSize("12345"));
    estimated.set("a", "12345", { sizeBytes: 700 });
    expect(bytes(estimated)).toBe(700);
    const weighed = new LRUCache<string, string>({ sizeOf: () => 3 });
    weighed.set("a", "12345");
    expect(bytes(weighed)).toBe(3);
  });

  test("refuses a size that is no number of bytes, before anything changes", () => {
    const sizes = [-1, NaN, 1.5, Infinity];
    for (const size of sizes) {
      const cache = new LRUCache<string, number>({ sizeOf: (value) => (value === 1 ? 1 : size) });
      cache.set("a", 1);
      expect(() => cache.set("a", 2)).toThrow(CacheSizeError);
      expect(() => cache.set("a", 2, { sizeBytes: size })).toThrow(CacheSizeError);
      expect([cache.get("a"), cache.getStats().sets]).toEqual([1, 1]);
    }
    const thrower = new LRUCache<string, number>({
      sizeOf: (value) => {
        if (value === 2) throw new RangeError("cannot weigh it");
        return 1;
      },
    });
    thrower.set("a", 1);
    expect(() => thrower.set("a", 2)).toThrow("cannot weigh it");
    expect(thrower.get("a")).toBe(1);
  });

  test("without a budget, the size of small caches is the sum of estimates, and of large ones an extrapolation", () => {
    const cache = new LRUCache<number, Buffer>({ capacity: 10_000 });
    let sum = 0;
    for (let i = 0; i < 256; i++) {
      cache.set(i, Buffer.alloc(i));
      sum += estimateSize(Buffer.alloc(i));
    }
    expect(cache.getStats().total_size_mb * MB).toBe(sum);
    for (let i = 0; i < 10_000; i++) cache.set(i, Buffer.alloc(100));
    expect(cache.getStats().total_size_mb * MB).toBe(10_000 * estimateSize(Buffer.alloc(100)));
  });

  test("the first explicit size makes a cache weigh what it holds already", () => {
    const cache = new LRUCache<string, string>();
    cache.set("a", "12345");
    cache.set("b", "x", { sizeBytes: 100 });
    expect(cache.getStats().total_size_mb * MB).toBe(100 + estimateSize("12345"));
    cache.delete("b");
    expect(cache.getStats().total_size_mb * MB).toBe(estimateSize("12345"));
  });

  test("of sizes beyond what a double adds up exactly does not make an emptied cache loop for ever", () => {
    const huge = Number.MAX_SAFE_INTEGER;
    const cache = new LRUCache<string, number>({ sizeOf: (value) => value, capacity: 10 });
    for (const [i, size] of [huge, huge, 1, huge, 3, 5].entries()) cache.set(`k${i}`, size);
    for (const key of cache.keys()) cache.delete(key);
    expect(cache.getStats().total_size_mb).toBe(0);
    cache.resize({ maxBytes: 1 });
    expect([cache.set("a", 1), cache.size]).toEqual([true, 1]);
  });

  test("bounds values that weigh nothing, too: no more entries than bytes", () => {
    const cache = new LRUCache<number, string>({ maxBytes: 1000, sizeOf: (value) => value.length });
    for (let i = 0; i < 5000; i++) cache.set(i, "");
    expect(cache.size).toBe(1000);
  });

  test("holds although each value hides its bulk in one place among small ones", () => {
    const cache = new LRUCache<number, unknown>({ maxBytes: MB });
    for (let i = 0; i < 20; i++) {
      const parts: unknown[] = Array.from({ length: 100 }, () => 1);
      parts[i * 5 + 1] = Buffer.alloc(MB / 4);
      cache.set(i, parts);
    }
    expect(cache.size).toBe(3);
  });
});

describe("total_size_mb without a budget", () => {
  test("is close for a large cache in whatever order it was used, and after many entries have left", () => {
    const cache = new LRUCache<number, Buffer>({ capacity: 100_000 });
    for (let i = 0; i < 50_000; i++) cache.set(i, Buffer.alloc(i % 2 === 0 ? 1000 : 3000));
    for (let i = 0; i < 50_000; i += 3) cache.get(i);
    const mean = (estimateSize(Buffer.alloc(1000)) + estimateSize(Buffer.alloc(3000))) / 2;
    const estimate = (): number => cache.getStats().total_size_mb * MB;
    expect(Math.abs(estimate() / (50_000 * mean) - 1)).toBeLessThan(0.1);
    for (let i = 0; i < 30_000; i++) cache.delete(i);
    expect(Math.abs(estimate() / (20_000 * mean) - 1)).toBeLessThan(0.1);
    for (let i = 30_000; i < 48_000; i++) cache.delete(i);
    expect(Math.abs(estimate() / (2000 * mean) - 1)).toBeLessThan(0.1);
  });

  test("counts undefined as a key, and as a value", () => {
    const cache = new LRUCache<unknown, unknown>({ capacity: 10_000 });
    for (let i = 0; i < 2000; i++) cache.set(i, undefined);
    cache.set(undefined, undefined);
    cache.delete(5);
    expect(cache.getStats().total_size_mb * MB).toBe(2000 * 8);
  });

  test("is not taken down by a value that cannot be looked at", () => {
    const revocable = Proxy.revocable({}, {});
    revocable.revoke();
    const cache = new LRUCache<string, unknown>();
    cache.set("revoked", revocable.proxy);
    cache.set("proxy of a Map", new Proxy(new Map(), {}));
    expect(cache.getStats()).toMatchObject({
      entries: 2,
      total_size_mb: (estimateSize(revocable.proxy) + estimateSize(new Proxy(new Map(), {}))) / MB,
    });
  });
});
