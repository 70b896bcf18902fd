import { execFileSync } from "node:child_process";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { estimateSize } from "../src/index.ts";

// The words of V8's objects in a 64-bit process; that they are right is what the test beside the heap shows.
const SLOT = 8;
const OBJECT = 24;
const ARRAY = 32 + 16;
const DOUBLE = 16;
const BUFFER = 104 + 88;
const text = (bytes: number): number => 16 + Math.ceil(bytes / 8) * 8;
const map = (room: number): number => 72 + room * (3 + 0.5) * SLOT;
const set = (room: number): number => 72 + room * (2 + 0.5) * SLOT;
const table = (room: number): number => 64 + room * 3 * SLOT;

const cycle: Record<string, unknown> = {};
cycle["self"] = cycle;
const inner = { text: "inner text" };
const twice = { a: inner, b: inner };
const buffer = Buffer.alloc(1000);
const liar = Object.defineProperty(new Uint8Array(10), "byteLength", { value: NaN });
const named = (count: number): object =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`name ${i} of it`, i]));
const sparse: unknown[] = [];
sparse[1_000_000_000] = "x".repeat(1000);

/** Runs in a process that can collect garbage. Prints the bytes of a value, measured and estimated, of each shape. */
const MEASURING = `
import { estimateSize } from ${JSON.stringify(new URL("../src/estimate-size.ts", import.meta.url))};
const list = (length, item) => Array.from({ length }, (_, i) => item(i));
const parsed = (value) => JSON.parse(JSON.stringify(value));
const message = (i) => ({ role: i % 2 ? "user" : "assistant", content: "answer " + i + " of many ".repeat(20 + i) });
class Point {
  constructor(i) {
    this.x = i;
    this.y = i + 0.5;
    this.label = parsed("point " + (1e9 + i));
  }
}
const shapes = {
  text: (i) => parsed("a text of some length, number " + (1e6 + i)),
  wide: (i) => parsed("\\u2713 a text of some length, number " + (1e6 + i)),
  double: (i) => i + 0.5,
  dated: (i) => ({ id: i, at: new Date(1.7e12 + i) }),
  bigint: (i) => 2n ** 100n + BigInt(i),
  integers: (i) => parsed({ id: i, count: i }),
  doubles: (i) => parsed({ x: i + 0.1, y: i + 0.2 }),
  record: (i) => parsed({ id: "user-" + (1e9 + i), status: "active", balance: i + 0.5, tags: ["new", "paid"], ok: true }),
  chat: (i) => parsed({ id: "chat-" + (1e9 + i), messages: list(60, message) }),
  rows: (i) => parsed({ rows: list(20, (row) => ({ id: 1e9 + i + row, name: "name " + (1e9 * i + row), price: row + 0.9 })) }),
  embedding: (i) => parsed(list(1536, (at) => Math.sin(i + at))),
  mixedNumbers: (i) => parsed(list(100, (at) => (at % 10 === 0 ? null : at + i + 0.5))),
  ids: (i) => parsed(list(100, (at) => (i * 100 + at + 1e6).toString(16))),
  byName: (i) => parsed(Object.fromEntries(list(200, (at) => ["name-" + (i * 200 + at + 1e6), at]))),
  byNumber: (i) => parsed(Object.fromEntries(list(50, (at) => [at, i]))),
  noPrototype: (i) => Object.assign(Object.create(null), { a: i, b: i, c: i }),
  instances: (i) => new Point(i),
  map: (i) => new Map(list(100, (at) => [parsed("key " + (1e9 + i * 100 + at)), at])),
  set: (i) => new Set(list(20, (at) => i + at)),
  empty: () => [{}, [], new Map(), new Set()],
  sparse: (i) => { const items = []; for (let at = 0; at < 50; at++) items[at * 3001] = i; return items; },
  buffer: () => Buffer.alloc(3000),
  bytes: () => new Uint8Array(32),
  floats: () => new Float32Array(1536),
};
function live() {
  for (let i = 0; i < 3; i++) gc();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
const results = {};
for (const [name, make] of Object.entries(shapes)) {
  for (let i = 0; i < 50; i++) make(i);
  const count = Math.ceil(2e6 / estimateSize(make(0)));
  // V8 frees things of its own at times of its own (code that is out of use): the middle of three.
  const runs = list(3, () => {
    const values = Array.from({ length: count }).fill("");
    const before = live();
    for (let i = 0; i < count; i++) values[i] = make(100 + i);
    const measured = (live() - before) / count;
    return { measured, estimated: values.reduce((sum, value) => sum + estimateSize(value), 0) / count };
  });
  results[name] = runs.sort((a, b) => a.measured - b.measured)[1];
}
console.log(JSON.stringify(results));
`;

describe("estimateSize", () => {
  test("is within 15 % of what the heap grows by, for what caches hold", () => {
    const printed = execFileSync(
      process.execPath,
      ["--expose-gc", "--single-threaded", "--no-warnings", "--input-type=module", "--eval", MEASURING],
      { encoding: "utf8", timeout: 25_000 },
    );
    const results = JSON.parse(printed) as Record<string, { measured: number; estimated: number }>;
    expect(Object.keys(results)).toContain("floats");
    for (const [shape, { measured, estimated }] of Object.entries(results)) {
      // Within 5 % on Node 24; Dates take 16 bytes more on Node 22.
      expect(Math.abs(estimated / measured - 1), `${shape}: ${measured} measured, ${estimated} estimated`).toBeLessThan(
        0.15,
      );
    }
  });

  test.each<[string, unknown, number]>([
    ["a Latin-1 string: a byte a character, in words", "caf\u00e9", 16 + 8],
    ["any other string: two", "caf\u00e9 \u2713", 16 + 16],
    ["a long string", "x".repeat(100_000), 16 + 100_000],
    ["a long string with one other character", `${"x".repeat(99_999)}\u2713`, 16 + 200_000],
    ["an empty string", "", 0],
    ["a Buffer", buffer, BUFFER + 1000],
    ["a Buffer that is reached twice", [buffer, buffer], ARRAY + 2 * SLOT + BUFFER + 1000],
    ["a typed array", new Float32Array(768), BUFFER + 3072],
    ["a small typed array", new Uint8Array(32), BUFFER + 16 + 32],
    ["a part of a buffer", new Uint8Array(new ArrayBuffer(1000), 10, 20), 104 + 20],
    ["an ArrayBuffer", new ArrayBuffer(50), 88 + 50],
    ["an Uint8Array that says another length", liar, BUFFER + 16],
    ["an integer", 15, 8],
    ["any other number", 1.5, DOUBLE],
    ["an integer of more than 32 bits", 2 ** 31, DOUBLE],
    ["undefined", undefined, 8],
    ["null", null, 8],
    ["a symbol", Symbol("s"), 8],
    ["a bigint", 2n ** 100n, 16 + 16],
    ["a negative bigint", -(2n ** 64n - 1n), 16 + 8],
    ["a Date", new Date(), 96],
    ["no elements", [], 32],
    ["integers", [1, 2, 3], ARRAY + 3 * SLOT],
    ["numbers only: as they are", [1, 2.5, 3.5], ARRAY + 3 * SLOT],
    ["numbers beside something else: objects", [null, 2.5, 3.5], ARRAY + 3 * SLOT + 2 * DOUBLE],
    ["nothing inside: room for four", {}, OBJECT + 4 * SLOT],
    ["an object", { a: 1, b: 1.5, c: "text" }, OBJECT + 3 * SLOT + DOUBLE],
    ["a string that is data", { a: "R-1" }, OBJECT + SLOT + text(3)],
    ["equal strings that are short: one", ["R-1", "R-1", { a: "R-1" }], ARRAY + 3 * SLOT + OBJECT + SLOT + text(3)],
    ["equal strings that are long", ["0123456789", "0123456789"], ARRAY + 2 * (SLOT + text(10))],
    ["a string of one character", ["7"], ARRAY + SLOT],
    ["a name that is data", { ["n".repeat(65)]: 1 }, OBJECT + SLOT + text(65)],
    ["127 names: of a shape", named(127), OBJECT + 127 * SLOT],
    ["128 names: data", named(128), OBJECT + table(256) + 10 * text(12) + 90 * text(13) + 28 * text(14)],
    ["no prototype", Object.assign(Object.create(null), { a: 1, bcd: 2 }), OBJECT + table(4)],
    ["numbers as names", { 0: "a", 1: "b", 2: "c" }, OBJECT + 4 * SLOT + 16 + 3 * SLOT],
    ["large numbers as names", { 1000: "a", 2_000_000: "b" }, OBJECT + 4 * SLOT + table(4)],
    ["an element far from the others", sparse, 32 + table(4) + text(1000)],
    ["an object that is reached twice", twice, OBJECT + 2 * SLOT + OBJECT + SLOT + text(10)],
    ["a cycle", cycle, OBJECT + SLOT],
    ["a Map", new Map<unknown, unknown>([["a long key", { a: 1.5 }]]), map(4) + text(10) + OBJECT + SLOT + DOUBLE],
    ["a Map of five", new Map(Array.from({ length: 5 }, (_, i) => [i, i])), map(8)],
    ["a Set", new Set(["a long one", "another one"]), set(4) + text(10) + text(11)],
    ["a nested one", { a: [{ b: "0123456789" }] }, OBJECT + SLOT + ARRAY + SLOT + OBJECT + SLOT + text(10)],
    ["a large even array", Array.from({ length: 10_000 }, () => "0123456789"), ARRAY + 10_000 * (SLOT + text(10))],
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
    expect(estimateSize(value)).toBe(OBJECT + 2 * SLOT + text(1000));
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
          expect(estimateSize(inside(large)) - estimateSize(inside(""))).toBe(bulk + (asText ? text(0) : BUFFER));
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
      expect(estimateSize({ messages })).toBe(before + text(large.length));
      message.content = "short";
    }
    const objects = Array.from({ length: 9998 }, () => ({ text: "" }));
    expect(estimateSize([...objects, { text: large }])).toBe(
      ARRAY + 9999 * (SLOT + OBJECT + SLOT) + text(large.length),
    );
    expect(estimateSize([...Array.from({ length: 99_998 }, () => 1), large])).toBe(
      ARRAY + 99_999 * SLOT + text(large.length),
    );
  });

  test("up to 256 short strings without a digit are words that values share, more are data", () => {
    const words = (count: number): string[] =>
      Array.from({ length: count }, (_, i) => `word${String.fromCodePoint(97 + (i >> 4), 97 + (i & 15))}`);
    expect(estimateSize(words(256))).toBe(ARRAY + 256 * SLOT);
    expect(estimateSize(words(300))).toBe(ARRAY + 300 * SLOT + 44 * text(6));
  });

  test("beyond the limits it extrapolates, at every level", () => {
    const records = Array.from({ length: 300_000 }, () => ({ inner: [{ text: "0123456789" }] }));
    const exact = ARRAY + 300_000 * (SLOT + OBJECT + SLOT + ARRAY + SLOT + OBJECT + SLOT + text(10));
    expect(Math.abs(estimateSize(records) / exact - 1)).toBeLessThan(0.01);
    expect(estimateSize(new Set(Array.from({ length: 500_000 }, (_, i) => `${1e9 + i}`)))).toBe(
      set(2 ** 19) + 500_000 * text(10),
    );
  });
});
