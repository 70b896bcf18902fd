import * as fc from "fast-check";
import { expect, test } from "vitest";
import { cosine, embed } from "../../src/upstream/embeddings.ts";

test("every embedding has length 1 and no odd values, whatever the text and the dimensions", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.integer({ min: 1, max: 256 }), (text, dimensions) => {
      const vector = embed(text, dimensions);
      expect(vector.length).toBe(dimensions);
      expect(cosine(vector, vector)).toBeCloseTo(1, 5);
    }),
  );
});

test("the same text has the same embedding", () => {
  expect(embed("Connection pools limit load.")).toEqual(embed("Connection pools limit load."));
});

test.each([
  ["How do I create an index on a table?", "Creating indexes on tables", "The average latency of a service"],
  [
    "The cache evicts the least recently used entry",
    "Least recently used entries leave the cache",
    "A replica follows the primary",
  ],
  ["vector search with HNSW", "HNSW is an index for searching vectors", "a user without orders"],
  ["connection pool sizing", "sizes of connection pools", "sentence of a different subject"],
  ["Deadlocks between transactions", "two transactions in a deadlock", "plots show outliers"],
])("%s is nearer to: %s, than to: %s", (text, near, far) => {
  const vector = embed(text);
  const nearness = cosine(vector, embed(near));
  expect(nearness).toBeGreaterThan(0.4);
  expect(nearness).toBeGreaterThan(cosine(vector, embed(far)) + 0.2);
});

test("unrelated texts are about at right angles", () => {
  const texts = [
    "mountain river stone",
    "guitar piano violin",
    "carrot onion pepper",
    "engine wheel brake",
    "poem novel drama",
  ];
  const pairs = texts.flatMap((a, i) => texts.slice(i + 1).map((b) => Math.abs(cosine(embed(a), embed(b)))));
  expect(Math.max(...pairs)).toBeLessThan(0.3);
});

test("inflections of a word are near", () => {
  expect(cosine(embed("optimization"), embed("optimizations"))).toBeGreaterThan(0.7);
  expect(cosine(embed("optimization"), embed("optimizer"))).toBeGreaterThan(
    cosine(embed("optimization"), embed("transaction")),
  );
});

test("texts of stop words or marks alone differ from each other", () => {
  expect(cosine(embed("what is it"), embed("who are you"))).toBeLessThan(0.9);
  expect(cosine(embed("!!!"), embed("???"))).toBeLessThan(0.9);
});

test("fewer dimensions are the first ones, brought back to length 1", () => {
  const whole = embed("a cache of embeddings");
  const short = embed("a cache of embeddings", 64);
  const scale = Math.hypot(...whole.subarray(0, 64));
  short.forEach((value, i) => expect(value).toBeCloseTo((whole[i] as number) / scale, 5));
});
