import { readFile } from "node:fs/promises";
import { createLogger, type LoggerConfig } from "@vg/logging";
import { describe, expect, test } from "vitest";
import { HOSTILE_CASES, type HostileCase } from "./support/hostile-cases.ts";
import { GOOD, outcomeOf } from "./support/hostile-outcome.ts";

function ours(one: HostileCase, config: LoggerConfig = {}): string {
  let text = "";
  const destination = { write: (line: string) => (text += line) };
  const logger = createLogger({
    format: one.as === "console" ? "console" : "json",
    color: "never",
    ...config,
    destination,
  });
  const value = one.make();
  if (one.as === "fields") logger.info("m", value as object);
  else if (one.as === "error") logger.error("m", value);
  else if (one.as === "message" || one.as === "console") logger.info(value as string);
  else logger.info("m", { value });
  return text;
}

describe.each(HOSTILE_CASES)("$title", (one) => {
  test("is one good line", () => {
    expect(GOOD).toContain(outcomeOf(one, { text: ours(one) }));
  });

  test("keeps within the limits that are set", () => {
    const text = ours(one, { maxLineBytes: 1024, maxStringLength: 64, maxItems: 4, maxDepth: 2 });
    if (one.as === "console") return;
    expect(Buffer.byteLength(text)).toBeLessThanOrEqual(1024);
    expect(JSON.parse(text)).toBeTypeOf("object");
  });
});

test("the table in README.md has these cases, and what comes of them", async () => {
  const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
  const [, section = ""] = readme.split(/<!-- \/?bench:hostile-values -->/);
  const rows = section
    .split("\n")
    .filter((line) => line.startsWith("| "))
    .slice(1, -1)
    .map((line) => line.split(" | "));
  expect(rows.map(([title = "", own]) => [title.slice(2), own])).toEqual(
    HOSTILE_CASES.map((one) => [one.title, outcomeOf(one, { text: ours(one) })]),
  );
});
