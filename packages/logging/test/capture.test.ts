import { captureLogs } from "@vg/logging/testing";
import { AssertionError } from "node:assert";
import { describe, expect, test } from "vitest";

test("captured lines are found by message, by fields and by a test", () => {
  const { logger, lines, find, filter, clear } = captureLogs();
  logger.debug("a", { user: { id: 1, name: "x" }, tags: ["p", "q"] });
  logger.warn("b", { user: { id: 2 } });
  logger.warn("b", { user: { id: 3 } });
  expect(lines).toHaveLength(3);
  expect(find("b")).toBe(lines[1]);
  expect(find({ user: { id: 1 } })).toBe(lines[0]);
  expect(find({ user: { id: 1 }, tags: ["p"] })).toBeUndefined();
  expect(find({ tags: ["p", "q"], level: "debug" })).toBe(lines[0]);
  expect(find((line) => line.level === "error")).toBeUndefined();
  expect(filter("b")).toEqual([lines[1], lines[2]]);
  expect(filter({ level: "warn", user: { id: 3 } })).toEqual([lines[2]]);
  expect(find({ missing: undefined, user: { id: 2 } })).toBe(lines[1]);
  expect(find({ user: null })).toBeUndefined();
  clear();
  expect(lines).toEqual([]);
  logger.info("again");
  expect(lines).toHaveLength(1);
});

test("the level is trace unless it is given", () => {
  const { logger, lines } = captureLogs({ level: "error" });
  logger.warn("m");
  expect(lines).toEqual([]);
  expect(captureLogs().logger.level).toBe("trace");
});

describe("what is looked for", () => {
  test("may have patterns, tests and a test runner's matchers in the place of values", () => {
    const { logger, find, filter } = captureLogs();
    logger.info("Request 7 done", { latency_ms: 245, tags: ["a", "b"], user: { name: "bob" } });
    logger.component("db").debug("Request 8 done");
    const slow = (value: unknown): boolean => Number(value) > 200;
    expect(find(/^Request \d/g)).toBeDefined();
    expect(filter(/^Request \d/g)).toHaveLength(2);
    expect(filter({ message: /done$/, level: "info", latency_ms: slow })).toHaveLength(1);
    expect(filter({ user: { name: /^b/ }, tags: ["a", expect.any(String)] })).toHaveLength(1);
    expect(filter({ user: { name: /^c/ } })).toEqual([]);
    expect(filter({ component: "db" })).toHaveLength(1);
    expect(filter({ latency_ms: /245/ })).toEqual([]);
  });
});

describe("expectOne", () => {
  test("gives the one line that matches", () => {
    const { logger, expectOne } = captureLogs();
    logger.info("a", { n: 1 });
    logger.info("b");
    expect(expectOne({ level: "info", message: "a" })["n"]).toBe(1);
  });

  test("says which lines there were, the nearest first", () => {
    const { logger, expectOne } = captureLogs();
    expect(() => expectOne("m")).toThrow('No line matches "m". There were no lines.');
    for (let i = 0; i < 12; i++) logger.info("m", { i });
    logger.warn("m", { i: 99, n: 1 });
    try {
      expectOne({ level: "warn", message: /m/, n: 2 });
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(AssertionError);
      const [first, nearest, ...others] = (error as Error).message.split("\n");
      expect(first).toBe('No line matches {"level":"warn","message":"/m/","n":2}. The lines were:');
      expect(nearest).toContain('"i":99');
      expect(others.at(-1)).toBe("  and 3 more");
    }
    expect(() => expectOne((line) => line.level === "info")).toThrow(
      /^12 lines match the test .*, not one\. They are:/,
    );
  });
});

test("expectNone says which lines should not be there", () => {
  const { logger, expectNone } = captureLogs();
  logger.error("failed", { code: 5 });
  expectNone({ level: "warn" });
  expect(() => expectNone({ level: "error" })).toThrow(
    /^A line matches \{"level":"error"\}, and none should.*\n.*"code":5/,
  );
});
