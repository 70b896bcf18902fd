import * as fc from "fast-check";
import { expect, test } from "vitest";
import { makeKeyIndex, ShardedMap } from "../src/entries/key-index.ts";

const anyKey = fc.oneof(
  fc.string({ maxLength: 24 }),
  fc.integer({ min: -50, max: 50 }),
  fc.double(),
  fc.bigInt({ min: -9n, max: 9n }),
  fc.constantFrom<unknown>(0, -0, NaN, Infinity, undefined, null, true, "0", Symbol.iterator, Math, []),
);
const step = fc.tuple(fc.constantFrom("set", "set", "delete", "get"), anyKey);

test("keys over many Maps, full ones among them, are found as in one Map", () => {
  let steps = 0;
  fc.assert(
    fc.property(
      fc.constantFrom(2, 16, 1024),
      fc.constantFrom(1, 3, 1000),
      fc.array(step, { maxLength: 200, size: "max" }),
      (shards, mapLimit, all) => {
        const map = new Map<unknown, number>();
        const sharded = new ShardedMap<unknown>(shards, mapLimit);
        for (const [verb, key] of all) {
          steps++;
          if (verb === "set") {
            map.set(key, steps);
            sharded.set(key, steps);
          } else if (verb === "delete") {
            expect(sharded.delete(key)).toBe(map.delete(key));
          }
          expect(sharded.get(key)).toBe(map.get(key));
        }
        for (const [key, slot] of map) expect(sharded.get(key)).toBe(slot);
      },
    ),
    { numRuns: 1200 },
  );
  expect(steps).toBeGreaterThan(100_000);
});

test("a full Map does not end it: what V8 would refuse goes on in another one", () => {
  const sharded = new ShardedMap<object>(4, 100);
  const keys = Array.from({ length: 1000 }, () => ({}));
  for (const [i, key] of keys.entries()) sharded.set(key, i);
  expect(keys.map((key) => sharded.get(key))).toEqual(keys.map((_, i) => i));
  for (const key of keys.slice(0, 500)) expect(sharded.delete(key)).toBe(true);
  for (const key of keys.slice(0, 500)) sharded.set(key, 7);
  expect(keys.slice(0, 500).every((key) => sharded.get(key) === 7)).toBe(true);
});

test("a small index is a plain Map, a large one is spread", () => {
  expect(makeKeyIndex(32_768)).toBeInstanceOf(Map);
  expect(makeKeyIndex(32_769)).toBeInstanceOf(ShardedMap);
  expect(makeKeyIndex(Infinity)).toBeInstanceOf(ShardedMap);
});
