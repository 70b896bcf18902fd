import { isDeepStrictEqual } from "node:util";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { cacheKey, canonicalJson } from "../src/gateway/cache-key.ts";

/** The same value with the fields of every object in another order. */
function shuffled(value: unknown, random: () => number): unknown {
  if (Array.isArray(value)) return value.map((item) => shuffled(item, random));
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value).map(([name, inner]) => [name, shuffled(inner, random)] as const);
  return Object.fromEntries(entries.toSorted(() => random() - 0.5));
}

test("the order of fields never matters, at any depth, and everything else does", () => {
  fc.assert(
    fc.property(
      fc.jsonValue(),
      fc.jsonValue(),
      fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })),
      (a, b, stream) => {
        const random = () => stream.next().value as number;
        expect(canonicalJson(shuffled(a, random))).toBe(canonicalJson(a));
        expect(JSON.parse(canonicalJson(a))).toEqual(JSON.parse(JSON.stringify(a)));
        const same = isDeepStrictEqual(JSON.parse(JSON.stringify(a)), JSON.parse(JSON.stringify(b)));
        expect(cacheKey("inference", "m", "t", a) === cacheKey("inference", "m", "t", b)).toBe(same);
      },
    ),
  );
});

test("a key is of its kind, model and tenant", () => {
  const key = cacheKey("inference", "general", "", { a: 1 });
  expect(key).toMatch(/^inference:general:[\w-]{43}$/);
  expect(cacheKey("inference", "general", "other", { a: 1 })).not.toBe(key);
  expect(cacheKey("embedding", "general", "", { a: 1 })).not.toBe(key);
});
