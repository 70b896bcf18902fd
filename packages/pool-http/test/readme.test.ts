import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { HttpPool } from "../src/index.ts";

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");

/** Two runs take different times. */
const withoutTimes = (text: string): string => text.replace(/latency_ms: [\d.]+/g, "latency_ms: …");

test("the program in the README prints what the README says", () => {
  const [, program, output] = /## Use\n.*?```ts\n(.*?)```\n\n```\n(.*?)```/su.exec(readme)!;
  const printed = execFileSync(
    process.execPath,
    ["--conditions=@vg/source", "--input-type=module-typescript", "--eval", program!],
    { cwd: fileURLToPath(new URL("..", import.meta.url)), encoding: "utf8", timeout: 20_000 },
  );
  expect(withoutTimes(printed)).toBe(withoutTimes(output!));
});

test("the README explains every figure of the statistics", () => {
  // Percentiles are told of by their beginnings.
  const known = (key: string): boolean => readme.includes(key) || readme.includes(`${/^p\d+_/.exec(key)?.[0]}`);
  expect(Object.keys(new HttpPool().getStats()).filter((key) => !known(key))).toEqual([]);
});
