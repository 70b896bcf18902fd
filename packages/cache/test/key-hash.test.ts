import * as fc from "fast-check";
import { expect, test } from "vitest";
import { KeyHash } from "../src/policy/key-hash.ts";
import { seededRandom } from "./seeded-random.ts";

const hashOf = (key: unknown, seed = 1): number => new KeyHash(seededRandom(seed)).of(key);

const anyKey = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.double(),
  fc.integer(),
  fc.maxSafeInteger(),
  fc.bigInt(),
  fc.boolean(),
  fc.constantFrom(undefined, null, 0, -0, NaN, Infinity, "", "0", 0n, Symbol.for("0"), Symbol.for(""), Symbol.iterator),
);

test("keys that are one key in a Map have one hash, whole and of 32 bits", () => {
  const keys = new KeyHash(seededRandom(1));
  fc.assert(
    fc.property(anyKey, anyKey, (a, b) => {
      const hashes = [keys.of(a), keys.of(b)];
      for (const hash of hashes) expect(hash).toBe(hash >>> 0);
      const same = new Map([[a, 1]]).has(b);
      if (same) expect(hashes[0]).toBe(hashes[1]);
      // Two keys of one hash exist, but nobody meets them in a few thousand pairs.
      else expect(hashes[0]).not.toBe(hashes[1]);
    }),
    { numRuns: 3000 },
  );
});

test("a number that is no integer is not mistaken for one whose bits begin like it", () => {
  const hashes = new Set<number>();
  for (let i = 0; i < 1000; i++) for (const key of [i, (i + 1) * Number.MIN_VALUE, i + 0.5]) hashes.add(hashOf(key));
  expect(hashes.size).toBe(3000);
});

test("an equal string, number or bigint that was made another way has the same hash", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), fc.bigInt(), (a, b, big) => {
      expect(hashOf([a, b].join(""))).toBe(hashOf(a + b));
      expect(hashOf(BigInt(big.toString()))).toBe(hashOf(big));
    }),
  );
  expect(hashOf(-0)).toBe(hashOf(0));
  expect(hashOf(0 / 0)).toBe(hashOf(new Float64Array(new Uint32Array([1, 0xfff8_0000]).buffer)[0]));
  expect(hashOf(2 ** 53 / 2)).toBe(hashOf(2 ** 52));
  expect(hashOf(Symbol.for("a") as unknown)).toBe(hashOf(Symbol.for("a")));
});

test("types are told apart, and so is every character of a long string", () => {
  const text = "x".repeat(1001);
  const keys: unknown[] = [1, "1", 1n, true, Symbol.for("1"), 1.5, "", 0, 0n, false, null, undefined, NaN, -1n, -1];
  for (let i = 0; i < text.length; i += 1) keys.push(`${text.slice(0, i)}y${text.slice(i + 1)}`);
  keys.push(text, text.slice(1), `${text}\0`, "\0", "\0\0", 2 ** 31, -(2 ** 31), 2 ** 32, 2 ** 32 + 1, 2 ** -1074);
  const keyHash = new KeyHash(seededRandom(1));
  expect(new Set(keys.map((key) => keyHash.of(key))).size).toBe(keys.length);
});

test("objects, functions and symbols are known again, and are told from others that look the same", () => {
  const keys = new KeyHash(seededRandom(1));
  const things = Array.from({ length: 1000 }, (_, i) => [{}, () => i, Symbol("a"), [], new Map()]).flat();
  const hashes = things.map((thing) => keys.of(thing));
  expect(new Set(hashes).size).toBe(things.length);
  expect(things.map((thing) => keys.of(thing))).toEqual(hashes);
  expect(keys.of(Symbol.iterator)).toBe(keys.of(Symbol.iterator));
  const frozen = Object.freeze({});
  expect(keys.of(frozen)).toBe(keys.of(frozen));
});

test("another seed gives other hashes, and keys that collide with one do not with another", () => {
  const keys = Array.from({ length: 200_000 }, (_, i) => `key:${i}`);
  const first = new KeyHash(seededRandom(1));
  const second = new KeyHash(seededRandom(2));
  const seen = new Map<number, string>();
  const collisions: [string, string][] = [];
  for (const key of keys) {
    const hash = first.of(key);
    const other = seen.get(hash);
    if (other !== undefined) collisions.push([other, key]);
    seen.set(hash, key);
  }
  // 200,000 keys have about 4.7 pairs of one hash among 2 to the 32.
  expect(collisions.length).toBeLessThan(20);
  for (const [a, b] of collisions) expect(second.of(a)).not.toBe(second.of(b));
  expect(keys.filter((key) => first.of(key) === second.of(key)).length).toBeLessThan(5);
});

test.each([
  ["numbers in a row", (i: number) => i],
  ["multiples of a large number", (i: number) => i * 65_536],
  ["fractions", (i: number) => i / 1000],
  ["strings that count", (i: number) => `user:${i}`],
  ["strings that differ in the front", (i: number) => `${String.fromCharCode(i)}-and-the-rest`],
  ["bigints", (i: number) => 10n ** 30n + BigInt(i)],
  ["objects", (i: number) => ({ i })],
] as const)("%s are spread evenly, by their lower bits and by their upper ones", (_, make) => {
  const keys = new KeyHash(seededRandom(3));
  const lower = new Uint32Array(256);
  const upper = new Uint32Array(256);
  for (let i = 0; i < 51_200; i++) {
    const hash = keys.of(make(i));
    lower[hash & 255]!++;
    upper[hash >>> 24]!++;
  }
  // 200 a bucket; the chance of one that is six standard deviations off is about one in a million.
  for (const count of [...lower, ...upper]) expect(Math.abs(count - 200)).toBeLessThan(85);
});
