import { captureLogs } from "@vg/logging/testing";
import { describe, expect, test } from "vitest";

const failure = new TypeError("boom");
const shownFailure = { type: "TypeError", message: "boom", stack: failure.stack };

describe.each(["trace", "debug", "info", "warn", "error", "fatal"] as const)("%s", (level) => {
  const said = (log: (method: ReturnType<typeof captureLogs>["logger"]["info"]) => void) => {
    const { logger, lines } = captureLogs({ caller: "off" });
    log(logger[level]);
    expect(lines).toHaveLength(1);
    const { level: _level, time: _time, ...rest } = lines[0] as (typeof lines)[0];
    return rest;
  };

  test("takes a message", () => expect(said((log) => log("m"))).toEqual({ message: "m" }));
  test("takes a message and nothing", () => expect(said((log) => log("m", null))).toEqual({ message: "m" }));
  test("takes a message and fields", () => expect(said((log) => log("m", { a: 1 }))).toEqual({ message: "m", a: 1 }));
  test("takes fields and a message", () => expect(said((log) => log({ a: 1 }, "m"))).toEqual({ message: "m", a: 1 }));
  test("takes a message and an error", () =>
    expect(said((log) => log("m", failure))).toEqual({ message: "m", error: shownFailure }));
  test("takes a message, an error and fields", () =>
    expect(said((log) => log("m", failure, { a: 1 }))).toEqual({ message: "m", error: shownFailure, a: 1 }));
  test("takes a message, no error and fields", () =>
    expect(said((log) => log("m", null, { a: 1 }))).toEqual({ message: "m", a: 1 }));
  test("takes an error", () => expect(said((log) => log(failure))).toEqual({ message: "boom", error: shownFailure }));
  test("takes an error and a message", () =>
    expect(said((log) => log(failure, "m"))).toEqual({ message: "m", error: shownFailure }));
  test("takes an error and fields", () =>
    expect(said((log) => log(failure, { a: 1 }))).toEqual({ message: "boom", error: shownFailure, a: 1 }));
  test("takes pino's { err } and a message", () =>
    expect(said((log) => log({ err: failure, a: 1 }, "m"))).toEqual({ message: "m", error: shownFailure, a: 1 }));
  test("takes pino's { err } alone", () =>
    expect(said((log) => log({ err: failure }))).toEqual({ message: "boom", error: shownFailure }));
  test("takes nothing at all", () => expect(said((log) => log(undefined))).toEqual({ message: "" }));
  test("shows something thrown that is no error", () =>
    expect(said((log) => log("m", { odd: 1 }, { a: 1 }))).toEqual({
      message: "m",
      error: { type: "object", message: { odd: 1 } },
      a: 1,
    }));
  test("keeps a field named error beside the error", () =>
    expect(said((log) => log("m", failure, { error: "mine" }))).toEqual({
      message: "m",
      error: shownFailure,
      "field.error": "mine",
    }));
});

test("what has no place in JSON is named where it was given for fields", () => {
  const { logger, lines } = captureLogs();
  logger.info("m", Symbol("x") as never);
  logger.info("m", function named() {} as never);
  expect(lines.map((line) => line["fields"])).toEqual(["Symbol(x)", "[function named]"]);
});

test("a % in a message is only a %", () => {
  const { logger, lines } = captureLogs();
  logger.info("100%s %d %o %%", { a: 1 });
  logger.info({ a: 1 }, "50%s off");
  expect(lines.map((line) => line.message)).toEqual(["100%s %d %o %%", "50%s off"]);
});

test("in pino's order one more argument fills a %s", () => {
  const { logger, lines } = captureLogs();
  logger.info({ a: 1 }, "user %s", "bob");
  expect(lines[0]).toMatchObject({ message: "user bob", a: 1 });
});

test("a thrown text is shown as the error where an error is to be expected", () => {
  const { logger, lines } = captureLogs();
  logger.error("m", "just text");
  expect(lines[0]).toMatchObject({ message: "m", error: { type: "string", message: "just text" } });
});

test("a method works without its logger", async () => {
  const { logger, lines } = captureLogs();
  await Promise.reject(new Error("late")).catch(logger.error);
  expect(lines[0]).toMatchObject({ level: "error", message: "late", error: { message: "late" } });
});

describe("whatever the order, the error is the error and nothing is lost", () => {
  const said = (...args: unknown[]) => {
    const { logger, lines } = captureLogs({ caller: "off" });
    (logger.error as (...args: unknown[]) => void)(...args);
    const { level: _level, time: _time, ...rest } = lines[0] as (typeof lines)[0];
    return rest;
  };
  const whole = { message: "m", error: shownFailure, a: 1 };

  test.each([
    ["fields, error", [{ a: 1 }, failure], { ...whole, message: "boom" }],
    ["fields, error, message", [{ a: 1 }, failure, "m"], whole],
    ["message, fields, error", ["m", { a: 1 }, failure], whole],
    ["fields, message, error", [{ a: 1 }, "m", failure], whole],
    ["error, fields, message", [failure, { a: 1 }, "m"], whole],
    ["nothing, error", [undefined, failure], { message: "boom", error: shownFailure }],
    ["fields, a message with a place, error", [{ a: 1 }, "m %s", failure], { ...whole, message: "m TypeError: boom" }],
    [
      "fields, fields",
      [
        { a: 1, c: 1 },
        { b: 2, c: 2 },
      ],
      { message: "", a: 1, c: 1, b: 2, "field.c": 2 },
    ],
    ["fields, fields, message", [{ a: 1 }, { b: 2 }, "m"], { message: "m", a: 1, b: 2 }],
    ["error, fields, fields", [failure, { a: 1 }, { b: 2 }], { message: "boom", error: shownFailure, a: 1, b: 2 }],
    [
      "message, error, error",
      ["m", failure, failure],
      { message: "m", error: shownFailure, "field.error": shownFailure },
    ],
    ["message, object", ["m", { code: 5, message: "x" }], { message: "m", code: 5, "field.message": "x" }],
    ["number, fields", [5, { a: 1 }], { message: "5", a: 1 }],
  ])("%s", (_, args, expected) => expect(said(...args)).toEqual(expected));
});
