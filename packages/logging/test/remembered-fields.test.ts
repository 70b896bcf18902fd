import * as fc from "fast-check";
import { expect, test } from "vitest";
import { internalsOf, type LoggerInternals } from "../src/internals.ts";
import { LEVEL_NUMBERS } from "../src/levels.ts";
import { rawLines } from "./support/raw-lines.ts";

const NAMES = ["path", "status", "password", "extra"];

/** A logger's lines of one form, without their time. */
function lines(): (values: readonly unknown[]) => string {
  const { logger, texts } = rawLines();
  const internals = internalsOf(logger) as LoggerInternals;
  const form = internals.form(NAMES);
  return (values) => {
    internals.event(LEVEL_NUMBERS.info, "said", undefined, form.fill(values), undefined);
    return (texts.pop() ?? "").replace(/"time":"[^"]*"/, "");
  };
}

test("a line of a kind is what it would be if no line of that kind had come before", () => {
  const shared = { count: 0 };
  const value = fc.oneof(
    fc.constantFrom<unknown>("/a", "/b", 'say "a"', "Bearer abcdefghijklmnop0123456789", 0, -0, 200, NaN, true, null),
    fc.constantFrom<unknown>(undefined, shared, [], { nested: "x" }, 12n),
    fc.anything({ maxDepth: 1 }),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(value, value, value, value), { maxLength: 30 }), (rows) => {
      const said = lines();
      for (const row of rows) {
        // The same object says something else the next time.
        shared.count++;
        expect(said(row)).toBe(lines()(row));
      }
    }),
    { numRuns: 200 },
  );
});
