import { describe, expect, test } from "vitest";
import { CacheSizeError, LRUCache, estimateSize } from "../src/index.ts";

const MB = 1024 * 1024;
const bytes = (cache: LRUCache<string, string>): number => cache.getStats().total_size_mb * MB;

describe("the budget of bytes", () => {
  test("evicts the least recently used ones until all values fit", () => {
    const cache = new LRUCache<string, Buffer>({ maxBytes: 3 * MB });
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
    expect(bytes(estimated)).toBe(5);
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
    for (let i = 0; i < 1000; i++) cache.set(i, Buffer.alloc(i));
    expect(cache.getStats().total_size_mb * MB).toBe((999 * 1000) / 2);
    for (let i = 0; i < 10_000; i++) cache.set(i, Buffer.alloc(100));
    expect(cache.getStats().total_size_mb * MB).toBe(1_000_000);
  });

  test("the first explicit size makes a cache weigh what it holds already", () => {
    const cache = new LRUCache<string, string>();
    cache.set("a", "12345");
    cache.set("b", "x", { sizeBytes: 100 });
    expect(cache.getStats().total_size_mb * MB).toBe(105);
    cache.delete("b");
    expect(cache.getStats().total_size_mb * MB).toBe(5);
  });
});

describe("estimateSize", () => {
  test.each<[string, unknown, number]>([
    ["a Latin-1 string: a byte a character", "caf\u00e9", 4],
    ["any other string: two", "caf\u00e9 \u2713", 12],
    ["a long string", "x".repeat(100_000), 100_000],
    ["a Buffer", Buffer.alloc(1000), 1000],
    ["a typed array", new Float32Array(768), 3072],
    ["a part of a buffer", new Uint8Array(new ArrayBuffer(1000), 10, 20), 20],
    ["an ArrayBuffer", new ArrayBuffer(50), 50],
    ["a number", 1.5, 8],
    ["undefined", undefined, 8],
    ["null", null, 8],
    ["a bigint", 2n ** 100n, 24],
    ["an array of numbers", [1, 2, 3], 24 + 3 * 8],
    ["an object", { a: 1, b: "text" }, 24 + 2 * 8 + 4],
    ["a nested one", { a: [{ b: "xy" }] }, 24 + 8 + 24 + 8 + 24 + 8 + 2],
    ["a Set", new Set(["abc", "def"]), 24 + 2 * 16 + 6],
    ["a large even array", Array.from({ length: 10_000 }, () => "0123456789"), 24 + 10_000 * 18],
    ["nothing inside", {}, 24],
  ])("%s", (_, value, expected) => {
    expect(estimateSize(value)).toBe(expected);
  });

  test("never throws and always ends: cycles, depth, getters and proxies", () => {
    const cycle: Record<string, unknown> = {};
    cycle["self"] = cycle;
    let deep: unknown = "end";
    for (let i = 0; i < 10_000; i++) deep = { deep };
    const hostile = Object.defineProperty({}, "x", {
      enumerable: true,
      get() {
        throw new Error("no");
      },
    });
    const refusing = new Proxy(
      {},
      {
        ownKeys() {
          throw new Error("no");
        },
      },
    );
    const bushy = (level: number): unknown =>
      level === 0 ? "leaf" : Array.from({ length: 30 }, () => bushy(level - 1));
    for (const value of [cycle, deep, hostile, refusing, new Map([[cycle, deep]]), bushy(3), () => {}, Symbol("s")]) {
      const size = estimateSize(value);
      expect(Number.isSafeInteger(size)).toBe(true);
      expect(size).toBeGreaterThan(0);
    }
  });
});
