import { createLogger, type LoggerConfig } from "@vg/logging";
import { describe, expect, test } from "vitest";
import { wantsColor } from "../src/console-format.ts";

const clock = { now: () => 0 };

function consoleLines(config: LoggerConfig = {}) {
  const texts: string[] = [];
  const destination = { write: (text: string) => texts.push(text) };
  return {
    logger: createLogger({
      format: "console",
      color: "never",
      level: "trace",
      clock,
      caller: "off",
      ...config,
      destination,
    }),
    texts,
  };
}

test("a line is time, level, message and fields", () => {
  const { logger, texts } = consoleLines();
  logger.info("Request processed", {
    user_id: "user_123",
    latency_ms: 245,
    words: "two words",
    list: [1, "a"],
    empty: "",
  });
  expect(texts).toEqual([
    '1970-01-01T00:00:00.000Z INFO  Request processed user_id=user_123 latency_ms=245 words="two words" list=[1,"a"] empty=""\n',
  ]);
});

test("the caller comes last", () => {
  const { logger, texts } = consoleLines({ caller: "warn" });
  logger.warn("m", { a: 1 });
  expect(texts[0]).toMatch(/ WARN {2}m a=1 test\/console\.test\.ts:\d+\n$/);
});

test("an error is named in the line, and its stack and causes stand below it, indented", () => {
  const { logger, texts } = consoleLines();
  const cause = Object.assign(new Error("refused"), {
    stack: "Error: refused\n    at connect (db.ts:1:1)",
    port: 5432,
  });
  const error = new Error("query failed", { cause });
  error.stack = "Error: query failed\n    at run (query.ts:2:2)";
  logger.error("m", error, { a: 1 });
  expect(texts).toEqual([
    [
      '1970-01-01T00:00:00.000Z ERROR m error="Error: query failed" a=1',
      "    Error: query failed",
      "        at run (query.ts:2:2)",
      "    caused by: Error: refused",
      "        at connect (db.ts:1:1)",
      "      port=5432",
      "",
    ].join("\n"),
  ]);
});

test.each([
  "\n2026-01-01T00:00:00.000Z INFO  forged",
  "\r",
  "\u001b[2J",
  "\u009b31m",
  "\u0007",
  "\u2028",
  "\u2029",
  "\u202e",
  "\u061c",
  "\u200b",
  "\u200d",
  "\u2060",
  "\u0000",
  "\u00ad",
  "\u202a",
  "\u2066",
  "\u2069",
  "\u206f",
  "\ufeff",
  "\ufff9",
  "\u3164",
  "\u{e0041}",
  "\ud800",
])("%j in any place can neither end the line nor drive the terminal", (nasty) => {
  const { logger, texts } = consoleLines();
  logger.child({ carried: nasty }).info(`m${nasty}`, { [`k${nasty}`]: nasty, deep: { [nasty]: [nasty] } });
  const error = new Error(nasty);
  error.name = nasty;
  logger.error(error);
  expect(texts).toHaveLength(2);
  expect(texts[0]?.indexOf("\n")).toBe((texts[0]?.length ?? 0) - 1);
  for (const text of texts) {
    for (const line of text.slice(0, -1).split("\n").slice(1)) expect(line).toMatch(/^ {4}/);
    expect(text.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\u3164]/u);
  }
});

test("secrets are hidden here too", () => {
  const { logger, texts } = consoleLines();
  logger.info("to postgres://u:hunter2@h/db", { password: "hunter2" });
  expect(texts[0]).not.toContain("hunter2");
});

describe("colours", () => {
  test("paint the level, and nothing when they are off", () => {
    const { logger, texts } = consoleLines({ color: "always" });
    logger.warn("m");
    expect(texts[0]).toContain("\u001b[33mWARN \u001b[0m");
  });

  test.each([
    [{ FORCE_COLOR: "1" }, false, true],
    [{ FORCE_COLOR: "0" }, true, false],
    [{ FORCE_COLOR: "" }, false, true],
    [{ FORCE_COLOR: "2" }, false, true],
    [{ FORCE_COLOR: "3" }, false, true],
    [{ FORCE_COLOR: "true" }, false, true],
    [{ FORCE_COLOR: "false" }, true, false],
    [{ FORCE_COLOR: "no" }, true, false],
    [{ FORCE_COLOR: "1", TERM: "dumb" }, false, true],
    [{ NODE_DISABLE_COLORS: "1" }, true, false],
    [{ CI: "true" }, false, false],
    [{ CI: "true" }, true, true],
    [{ NO_COLOR: "1" }, true, false],
    [{ NO_COLOR: "" }, true, true],
    [{ NO_COLOR: "1", FORCE_COLOR: "1" }, false, true],
    [{ TERM: "dumb" }, true, false],
    [{}, true, true],
    [{}, false, false],
  ])("with %j and a terminal: %s are %s", (env, isTTY, expected) => {
    const destination = { write: () => undefined, isTTY };
    expect(wantsColor("auto", destination, env)).toBe(expected);
    expect(wantsColor("always", destination, env)).toBe(true);
    expect(wantsColor("never", destination, env)).toBe(false);
  });
});
