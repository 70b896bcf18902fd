import { captureLogs } from "@vg/logging/testing";
import { expect, test } from "vitest";
import { rawLines } from "./support/raw-lines.ts";

test("texts beyond maxStringLength are cut, and say how long they were", () => {
  const { logger, lines } = captureLogs({ maxStringLength: 20 });
  logger.info("x".repeat(50), { text: "y".repeat(20), long: "z".repeat(21) });
  expect(lines[0]).toMatchObject({
    message: `${"x".repeat(20)}…[50 characters]`,
    text: "y".repeat(20),
    long: `${"z".repeat(20)}…[21 characters]`,
  });
});

test("lists, maps and objects beyond maxItems say how much was left out", () => {
  const { logger, lines } = captureLogs({ maxItems: 2 });
  logger.info("m", { list: [1, 2, 3, 4], object: { a: 1, b: 2, c: 3 } });
  logger.info("m", {
    set: new Set([1, 2, 3]),
    map: new Map([
      ["a", 1],
      ["b", 2],
      ["c", 3],
    ]),
  });
  logger.info("m", { a: 1, b: 2, c: 3 });
  expect(lines[0]).toMatchObject({ list: [1, 2, "[left out: 2]"], object: { a: 1, b: 2, "[left out]": 1 } });
  expect(lines[1]).toMatchObject({ set: [1, 2, "[left out: 1]"], map: { a: 1, b: 2, "[left out]": 1 } });
  expect(lines[2]).toMatchObject({ a: 1, b: 2, "log.left_out": 1 });
});

test("objects beyond maxDepth are marked", () => {
  const { logger, lines } = captureLogs({ maxDepth: 2 });
  logger.info("m", { one: { two: { three: {} } } });
  expect(lines[0]).toMatchObject({ one: { two: { three: "[too deep]" } } });
});

test("a line beyond maxLineBytes keeps its error and the fields that fit, and is counted", () => {
  const { logger, texts } = rawLines({ maxLineBytes: 1024 });
  logger.error("m".repeat(2000), new Error("e".repeat(5000)), { small: 1, big: "é".repeat(3000), also: 2 });
  const text = texts[0] as string;
  expect(Buffer.byteLength(text)).toBeLessThanOrEqual(1024);
  const line = JSON.parse(text) as Record<string, unknown>;
  expect(line).toMatchObject({ level: "error", error: { type: "Error" }, small: 1, also: 2, "log.left_out": 1 });
  expect(line["message"]).toMatch(/^m+…\[2000 characters\]$/);
  expect((line["error"] as { message: string }).message).toMatch(/^e+…/);
  expect(logger.getStats()).toMatchObject({ truncated_total: 1, lines_total: { error: 1 } });
});

test("a line of exactly maxLineBytes is whole", () => {
  const { logger, texts } = rawLines({ maxLineBytes: 1024, clock: { now: () => 0 } });
  logger.info("m", { text: "" });
  const text = "x".repeat(1024 - Buffer.byteLength(texts[0] as string));
  logger.info("m", { text });
  logger.info("m", { text: `${text}x` });
  expect(JSON.parse(texts[1] as string)).toMatchObject({ text });
  expect(Buffer.byteLength(texts[1] as string)).toBe(1024);
  expect(JSON.parse(texts[2] as string)).toMatchObject({ "log.left_out": 1 });
});

test("names made from data are not remembered without bound, nor cut into one another", () => {
  const { logger, lines } = captureLogs();
  for (let i = 0; i < 10_000; i++) logger.info("m", { [`user_${i}`]: i });
  expect(lines[9_999]).toMatchObject({ user_9999: 9_999 });
});
