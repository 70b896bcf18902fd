import * as fc from "fast-check";
import { expect, test } from "vitest";
import { countTokens, detokenize, tokenize } from "../../src/upstream/tokenizer.ts";

const anyString = fc.oneof(
  fc.string({ unit: "binary", maxLength: 200 }),
  fc.string({ unit: "grapheme", maxLength: 200 }),
  // Single UTF-16 code units: lone surrogates in any order.
  fc.array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 60 }).map((units) => String.fromCharCode(...units)),
  fc
    .array(
      fc.constantFrom(
        " ",
        "  ",
        "\n",
        "\r\n",
        "\t",
        "word",
        "it's",
        "__x",
        "12345",
        "...",
        "é",
        "e\u0301",
        "👩‍🚀",
        "中文",
      ),
    )
    .map((parts) => parts.join("")),
);

test("joining the tokens of any string gives back the string", () => {
  fc.assert(
    fc.property(anyString, (text) => {
      expect(detokenize(tokenize(text))).toBe(text);
    }),
    { numRuns: 1000 },
  );
});

test("no token is empty and none is longer than 32 code points", () => {
  fc.assert(
    fc.property(anyString, (text) => {
      for (const token of tokenize(text)) {
        expect(token.length).toBeGreaterThan(0);
        expect(Array.from(token).length).toBeLessThanOrEqual(32);
      }
    }),
  );
});

test("words keep the space before them, and marks and digits stand by themselves", () => {
  expect(tokenize("The pool's size is 12345, isn't it?\n\nYes...")).toEqual([
    "The",
    " pool's",
    " size",
    " is",
    " 1234",
    "5",
    ",",
    " isn't",
    " it",
    "?",
    "\n\n",
    "Yes",
    "...",
  ]);
});

test("an identifier is one token", () => {
  expect(tokenize("call max_tokens(x2)")).toEqual(["call", " max_tokens", "(", "x2", ")"]);
});

test("a long word counts as many tokens", () => {
  expect(countTokens("a".repeat(2400))).toBe(100);
  expect(countTokens("")).toBe(0);
});
