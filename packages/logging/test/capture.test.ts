import { captureLogs } from "@vg/logging/testing";
import { expect, test } from "vitest";

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
