import { isDeepStrictEqual } from "node:util";
import { canonicalJson } from "@vg/pooled-server";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { completionKey, embeddingKeys } from "../../src/inference/cache-key.ts";

const scope = { route: "/v1/chat/completions", tenant: "", model: "m", namespace: "" };
const DENIED = ["stream", "stream_options", "user", "metadata", "store", "cache"];
const body = fc.dictionary(fc.string(), fc.jsonValue()).map((fields) => JSON.parse(JSON.stringify(fields)) as object);
const key = (fields: object, more: Partial<typeof scope> = {}): string =>
  completionKey({ ...scope, ...more }, fields as Record<string, unknown>);

/** The same value with the fields of every object in another order. */
function shuffled(value: unknown, random: () => number): unknown {
  if (Array.isArray(value)) return value.map((item) => shuffled(item, random));
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value).map(([name, inner]) => [name, shuffled(inner, random)] as const);
  return Object.fromEntries(entries.toSorted(() => random() - 0.5));
}

test("equal bodies have equal keys in any order of their fields, at any depth; different bodies have different keys", () => {
  fc.assert(
    fc.property(body, body, fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })), (a, b, numbers) => {
      const random = (): number => numbers.next().value as number;
      expect(key(shuffled(a, random) as object)).toBe(key(a));
      const strip = (fields: object): object =>
        Object.fromEntries(Object.entries(fields).filter(([name]) => !DENIED.includes(name)));
      expect(key(a) === key(b)).toBe(isDeepStrictEqual(strip(a), strip(b)));
    }),
    { numRuns: 500 },
  );
});

test("a change of any field but those on the deny-list changes the key, and one of those never does", () => {
  fc.assert(
    fc.property(body, fc.string(), fc.jsonValue(), (fields, name, value) => {
      const before = Object.hasOwn(fields, name) ? (fields as Record<string, unknown>)[name] : undefined;
      const changed = Object.defineProperty({ ...fields }, name, { value, enumerable: true });
      const same = DENIED.includes(name) || isDeepStrictEqual(before, JSON.parse(JSON.stringify(value)));
      expect(key(changed) === key(fields)).toBe(same);
      for (const denied of DENIED) expect(key({ ...fields, [denied]: value })).toBe(key(fields));
    }),
    { numRuns: 500 },
  );
});

test("a tenant never has another one's key, nor a route, a model or a namespace, whatever they are called", () => {
  const name = fc.string();
  const places = fc.record({ tenant: name, route: name, model: name, namespace: name });
  fc.assert(
    fc.property(places, places, body, (a, b, fields) => {
      expect(key(fields, a) === key(fields, b)).toBe(isDeepStrictEqual(a, b));
      const [forA, forB] = [embeddingKeys(a, {})("text"), embeddingKeys(b, {})("text")];
      expect(forA === forB).toBe(isDeepStrictEqual(a, b));
    }),
    { numRuns: 500 },
  );
});

test("a key shows its kind and the model, and nothing of a credential or a prompt", () => {
  const made = key({ messages: ["my secret prompt"] }, { tenant: "Bearer sk-secret" });
  expect(made).toMatch(/^inference:m:[\w-]{43}$/);
  expect(key({}, { model: "x".repeat(5_000) }).length).toBeLessThan(130);
});

test("an embedding's key is its input's, its form's and its dimensions', and not the encoding's", () => {
  const of = (fields: object, input: unknown): string => embeddingKeys(scope, fields as Record<string, unknown>)(input);
  const base = of({}, "1");
  expect(of({ encoding_format: "base64", user: "u", input: ["1", "2"] }, "1")).toBe(base);
  for (const other of [of({}, [1]), of({}, "2"), of({ dimensions: 64 }, "1"), of({ input_type: "query" }, "1")]) {
    expect(other).not.toBe(base);
  }
});

test("canonical JSON is JSON, sorted by UTF-16 code units, with numbers as ECMAScript has them", () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      expect(JSON.parse(canonicalJson(value))).toEqual(JSON.parse(JSON.stringify(value)));
    }),
  );
  // RFC 8785, 3.2.3: the order of code units, not of code points.
  const names = { "\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\ud83d\ude00": 5, "\u0080": 6, "\u00f6": 7 };
  expect(Object.values(JSON.parse(canonicalJson(names)) as object)).toEqual([4, 2, 6, 7, 1, 5, 3]);
  expect(canonicalJson({ b: [1.0, 1e21, 4.5, 2e-3, -0], a: undefined })).toBe('{"b":[1,1e+21,4.5,0.002,0]}');
  // Not JSON, but not to be taken for null either.
  expect(canonicalJson(JSON.parse("1e400"))).not.toBe(canonicalJson(null));
});

test("a body nested without end is refused, not a stack overflow", () => {
  let deep: unknown = 1;
  for (let i = 0; i < 20_000; i++) deep = [deep];
  expect(() => canonicalJson(deep)).toThrow(/nested deeper than 64 levels/);
});

test("halves of surrogate pairs, which are one and the same in UTF-8, are different tenants", () => {
  expect(key({}, { tenant: "\ud800" })).not.toBe(key({}, { tenant: "\ud801" }));
  expect(key({}, { tenant: "\ud800" })).not.toBe(key({}, { tenant: "\ufffd" }));
});
