import { captureLogs } from "@vg/logging/testing";
import { describe, expect, test } from "vitest";
import { duplicateKeys } from "./support/duplicate-keys.ts";
import { rawLines } from "./support/raw-lines.ts";

const clock = { now: () => Date.UTC(2026, 0, 2, 3, 4, 5, 67) };

describe("the line", () => {
  test("has level, time, caller, message and then the fields, in this order", () => {
    const { logger, texts } = rawLines({ clock, caller: "off", base: { service: "chat" } });
    logger.info("Request processed", { user_id: "user_123", latency_ms: 245 });
    expect(texts).toEqual([
      '{"level":"info","time":"2026-01-02T03:04:05.067Z","message":"Request processed","service":"chat","user_id":"user_123","latency_ms":245}\n',
    ]);
  });

  test("has its caller before its message", () => {
    const { logger, texts } = rawLines({ clock });
    logger.warn("slow", { a: 1 });
    expect(Object.keys(JSON.parse(texts[0] as string) as object)).toEqual(["level", "time", "caller", "message", "a"]);
  });

  test.each(["trace", "debug", "info", "warn", "error", "fatal"] as const)("says %s as a word", (level) => {
    const { logger, texts } = rawLines();
    logger[level]("x");
    expect(JSON.parse(texts[0] as string)).toMatchObject({ level, message: "x" });
  });

  test("shows a field that has a reserved name under another name", () => {
    const { logger, texts } = rawLines({ clock, caller: "off" });
    logger.info("real", { level: "fake", time: 0, caller: "fake.ts:1", message: "fake", ok: 1 });
    expect(JSON.parse(texts[0] as string)).toEqual({
      level: "info",
      time: "2026-01-02T03:04:05.067Z",
      message: "real",
      "field.level": "fake",
      "field.time": 0,
      "field.caller": "fake.ts:1",
      "field.message": "fake",
      ok: 1,
    });
  });

  test("keeps a field that already has the name another one would be moved to", () => {
    const { logger, texts } = rawLines();
    logger.info("m", { level: 2, "field.level": 1 });
    expect(JSON.parse(texts.pop() as string)).toMatchObject({ "field.level": 2, "field.field.level": 1 });
    logger.info("m", { "field.level": 1, level: 2 });
    expect(JSON.parse(texts[0] as string)).toMatchObject({ level: "info", "field.level": 1, "field.field.level": 2 });
    expect(duplicateKeys(texts[0] as string)).toEqual([]);
  });

  test("takes a field of the call over one that the logger carries, and has it once", () => {
    const { logger, texts } = rawLines();
    logger.withFields({ a: 1, b: 2 }).withFields({ b: 3 }).info("m", { a: 4 });
    expect(texts[0]).toContain('"message":"m","a":4,"b":3}');
    expect(duplicateKeys(texts[0] as string)).toEqual([]);
  });

  test("has a message even when none was given", () => {
    const { logger, texts } = rawLines();
    logger.info({ a: 1 });
    expect(JSON.parse(texts[0] as string)).toMatchObject({ message: "", a: 1 });
  });

  test("escapes what would end a line or a text", () => {
    const { logger, texts } = rawLines();
    const nasty = 'a"b\\c\nd\u0000e\u2028f\ud800g😀';
    logger.info(nasty, { [nasty]: nasty });
    expect(texts[0]?.indexOf("\n")).toBe((texts[0]?.length ?? 0) - 1);
    expect(JSON.parse(texts[0] as string)).toMatchObject({ message: nasty, [nasty]: nasty });
  });
});

describe("the time", () => {
  test("is whole seconds, rounded down, with unix", () => {
    const { logger, texts } = rawLines({ timeFormat: "unix", clock: { now: () => 1_700_000_000_999 } });
    logger.info("m");
    expect(texts[0]).toContain('"time":1700000000,');
  });

  test("is right from one second to the next, and before 1970", () => {
    const times = [999, 1000, 1001.9, 60_000, -1, 253_402_300_800_000];
    let now = 0;
    const { logger, texts } = rawLines({ clock: { now: () => now } });
    for (now of times) logger.info("m");
    expect(texts.map((line) => (JSON.parse(line) as { time: string }).time)).toEqual(
      times.map((each) => new Date(Math.floor(each)).toISOString()),
    );
  });

  test.each([
    [
      "throws",
      () => {
        throw new Error("no time");
      },
    ],
    ["gives NaN", () => NaN],
    ["gives a day that no calendar has", () => 1e300],
  ])("is the system's when the clock %s", (_, now) => {
    const { logger, texts } = rawLines({ clock: { now } });
    const before = Date.now();
    logger.info("m");
    const { time } = JSON.parse(texts[0] as string) as { time: string };
    expect(Date.parse(time)).toBeGreaterThanOrEqual(before);
    expect(Date.parse(time)).toBeLessThanOrEqual(Date.now());
  });
});

test("an error's own fields keep their values where one is moved to another's name", () => {
  const { logger, lines } = captureLogs();
  logger.info("m", Object.assign(new Error("x"), { type: "own", "field.type": "second", "field.field.type": "third" }));
  expect(lines[0]).toMatchObject({
    error: { type: "Error", "field.type": "own", "field.field.type": "second", "field.field.field.type": "third" },
  });
  const has = (): boolean => true;
  const getOwnPropertyDescriptor = (): PropertyDescriptor => ({ value: 1, configurable: true, enumerable: true });
  logger.info("m", new Proxy(new Error("x"), { has, getOwnPropertyDescriptor }));
  expect(lines[1]).toMatchObject({ error: { message: "x" } });
});
