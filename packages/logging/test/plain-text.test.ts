import fc from "fast-check";
import { expect, test } from "vitest";
import { isShortAndPlain } from "../src/line/plain-text.ts";
import { needsCare } from "../src/line/value.ts";

test("no text that needs care is taken for plain", () => {
  const piece = fc.oneof(
    fc.constantFrom(
      "ghp_",
      "sk-proj-",
      "eyJ",
      "AbCdEf0123456789",
      "0123456789abcdef",
      "Bearer ",
      "basic ",
      "BEARER ",
      "Basic ",
      "----",
      "-----BEGIN",
      "://",
      "d:",
      "token:",
      "y' :",
      "=",
    ),
    fc.string({ maxLength: 4 }),
    fc.string({ unit: "binary", maxLength: 3 }),
  );
  const text = fc.array(piece, { maxLength: 8 }).map((pieces) => pieces.join(""));
  fc.assert(
    fc.property(text, (value) => {
      if (isShortAndPlain(value)) expect(needsCare(value)).toBe(false);
    }),
    { numRuns: 5000 },
  );
  for (let code = 0; code < 0x10000; code++) {
    const value = `a${String.fromCharCode(code)}b`;
    if (isShortAndPlain(value)) expect(needsCare(value)).toBe(false);
  }
});

test.each([
  "user_123",
  "4bf92f3577b34da6a3ce929d0e0e4736",
  "/v2/chat/completions",
  "Request processed",
  "0x5678-SQLAgent",
])("%s is plain", (value) => expect(isShortAndPlain(value)).toBe(true));
