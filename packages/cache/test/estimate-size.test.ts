import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { estimateSize } from "../src/index.ts";

const cycle: Record<string, unknown> = {};
cycle["self"] = cycle;
const inner = { text: "inner" };
const twice = { a: inner, b: inner };
const liar = Object.defineProperty(new Uint8Array(10), "byteLength", { value: NaN });

describe("estimateSize", () => {
  test.each<[string, unknown, number]>([
    ["a Latin-1 string: a byte a character", "caf\u00e9", 4],
    ["any other string: two", "caf\u00e9 \u2713", 12],
    ["a long string", "x".repeat(100_000), 100_000],
    ["a long string with one other character", `${"x".repeat(99_999)}\u2713`, 200_000],
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
    ["an object that is reached twice", twice, 24 + 2 * 8 + 24 + 8 + 5],
    ["a cycle", cycle, 24 + 8],
    ["a Map", new Map<unknown, unknown>([["key", { a: "value" }]]), 24 + 16 + 3 + 24 + 8 + 5],
    ["a name that is data", { ["n".repeat(65)]: 1 }, 24 + 8 + 65],
    ["an empty string", "", 0],
    ["an Uint8Array that says another length", liar, 0],
    ["a nested one", { a: [{ b: "xy" }] }, 24 + 8 + 24 + 8 + 24 + 8 + 2],
    ["a Set", new Set(["abc", "def"]), 24 + 2 * 16 + 6],
    ["a large even array", Array.from({ length: 10_000 }, () => "0123456789"), 24 + 10_000 * 18],
    ["nothing inside", {}, 24],
  ])("%s", (_, value, expected) => {
    expect(estimateSize(value)).toBe(expected);
  });

  test("never throws and always ends: cycles, depth, getters and proxies", () => {
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
    const revocable = Proxy.revocable({}, {});
    revocable.revoke();
    const endless = new Proxy([], { get: (_, name) => (name === "length" ? 2 ** 53 - 1 : endless) });
    const broken = new Map();
    Object.defineProperty(broken, "size", { value: NaN });
    for (const value of [
      cycle,
      deep,
      hostile,
      refusing,
      new Map([[cycle, deep]]),
      bushy(3),
      () => {},
      Symbol("s"),
      revocable.proxy,
      { nested: revocable.proxy },
      new Proxy(new Map([[1, 2]]), {}),
      Object.create(Map.prototype),
      Object.create(Uint8Array.prototype),
      endless,
      broken,
    ]) {
      const size = estimateSize(value);
      expect(Number.isSafeInteger(size)).toBe(true);
      expect(size).toBeGreaterThan(0);
    }
  });

  test("a getter that throws hides nothing else", () => {
    const value = {
      get refuses() {
        throw new Error("no");
      },
      text: "x".repeat(1000),
    };
    expect(estimateSize(value)).toBe(24 + 2 * 8 + 1000);
  });

  test("one large string or Buffer counts, wherever it is in a value of up to the limits", () => {
    const small = fc.oneof(fc.integer(), fc.string({ maxLength: 10 }), fc.constantFrom(null, true, undefined));
    const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
      tree: fc.oneof(
        { depthSize: "medium" },
        small,
        fc.array(tie("tree"), { maxLength: 200 }),
        fc.dictionary(fc.string({ maxLength: 8 }), tie("tree"), { maxKeys: 50 }),
        fc.array(tie("tree"), { maxLength: 50 }).map((items) => new Map(items.entries())),
        fc.array(tie("tree"), { maxLength: 50 }).map((items) => new Set(items)),
      ),
    }));
    const wrap = fc.constantFrom<(large: unknown, other: unknown, fill: number, at: number) => unknown>(
      (large, other, fill, at) => Array.from({ length: fill + 1 }, (_, i) => (i === at ? large : other)),
      (large, other, fill, at) =>
        Object.fromEntries(Array.from({ length: fill + 1 }, (_, i) => [`k${i}`, i === at ? large : other])),
      (large, other, fill, at) =>
        new Map(Array.from({ length: fill + 1 }, (_, i) => [i, i === at ? large : [other, i]])),
      (large) => [large],
    );
    fc.assert(
      fc.property(
        tree,
        fc.array(fc.tuple(wrap, fc.nat({ max: 300 }), fc.nat({ max: 300 })), { maxLength: 6 }),
        fc.boolean(),
        (other, wraps, asText) => {
          const bulk = 2_000_000;
          const inside = (large: unknown): unknown =>
            wraps.reduce((value, [how, fill, at]) => how(value, other, fill, at % (fill + 1)), large);
          const large = asText ? "y".repeat(bulk) : Buffer.alloc(bulk);
          expect(estimateSize(inside(large)) - estimateSize(inside(""))).toBe(bulk);
        },
      ),
      { numRuns: 200 },
    );
  });

  test("it counts among 60 messages, and as the last of 9,999 objects or of 99,999 elements", () => {
    const large = "y".repeat(2_000_000);
    const messages = Array.from({ length: 60 }, () => ({ role: "user", content: "short" }));
    const before = estimateSize({ messages });
    for (const message of messages) {
      message.content = large;
      expect(estimateSize({ messages })).toBe(before - "short".length + large.length);
      message.content = "short";
    }
    const objects = Array.from({ length: 9998 }, () => ({ text: "" }));
    expect(estimateSize([...objects, { text: large }])).toBe(24 + 9999 * (8 + 24 + 8) + large.length);
    expect(estimateSize([...Array.from({ length: 99_998 }, () => 1), large])).toBe(24 + 99_999 * 8 + large.length);
  });

  test("beyond the limits it extrapolates, at every level", () => {
    const records = Array.from({ length: 300_000 }, () => ({ inner: [{ text: "0123456789" }] }));
    const exact = 24 + 300_000 * (8 + (24 + 8) + (24 + 8) + (24 + 8 + 10));
    expect(Math.abs(estimateSize(records) / exact - 1)).toBeLessThan(0.01);
    expect(estimateSize(new Set(Array.from({ length: 500_000 }, (_, i) => `${1e9 + i}`)))).toBe(24 + 500_000 * 26);
  });
});
