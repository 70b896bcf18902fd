import { expect, test } from "vitest";
import { checkOptions, readEnvironment } from "../src/index.ts";

const check = (options: unknown) => checkOptions("Pool", options, (message) => new TypeError(message));

test("a bad value is refused with the option's name, what was received and what is allowed", () => {
  expect(() => check({ size: -1 }).integer("size", { fallback: 5, min: 1, max: 10 })).toThrow(
    "Pool: size must be a whole number from 1 to 10, got -1.",
  );
  expect(() => check({ waitMs: "1s" }).durationMs("waitMs", { fallback: 5 })).toThrow(
    'Pool: waitMs must be a number of milliseconds from 0 to 2147483647, got "1s".',
  );
  expect(() => check({ size: NaN }).number("size", { fallback: 5 })).toThrow("got NaN");
  expect(() => check(null)).toThrow("Pool: options must be an object, got null");
});

test("an unknown option is refused, with the nearest known name", () => {
  const options = check({ maxOpenCons: 5 });
  options.integer("maxOpenConns", { fallback: 25 });
  expect(() => options.noOthers()).toThrow('Pool: unknown option "maxOpenCons". Did you mean maxOpenConns?');
});

test("a long string in an error is described, not shown", () => {
  expect(() => check({ size: "s3cret".repeat(20) }).integer("size", { fallback: 5 })).toThrow(
    "got a string of 120 characters",
  );
});

test("environment variables accept decimals for durations and refuse garbage by name", () => {
  const read = (env: Record<string, string>) => readEnvironment(env, (message) => new TypeError(message));
  expect(read({ TTL_HOURS: " 0.5 " }).durationMs("TTL_HOURS", 3_600_000, "hours")).toBe(1_800_000);
  expect(read({ TTL_HOURS: "" }).durationMs("TTL_HOURS", 3_600_000, "hours")).toBeUndefined();
  for (const bad of ["0", "-1", "1h", "0x10", "Infinity", "1e3"]) {
    expect(() => read({ TTL_HOURS: bad }).durationMs("TTL_HOURS", 3_600_000, "hours")).toThrow(
      "TTL_HOURS must be a number of hours above 0",
    );
  }
  expect(() => read({ SIZE: "-5" }).integer("SIZE", { min: 1 })).toThrow(
    'SIZE must be a whole number of at least 1, got "-5". Correct or unset the variable.',
  );
});
