import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { LRUCache } from "../src/index.ts";

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");

test("the program in the README prints what the README says", () => {
  const [, program, output] = /## Use\n\n```ts\n(.*?)```\n\n```\n(.*?)```/su.exec(readme)!;
  const printed = execFileSync(
    process.execPath,
    ["--conditions=@vg/source", "--input-type=module-typescript", "--eval", program!],
    { cwd: fileURLToPath(new URL("..", import.meta.url)), encoding: "utf8", timeout: 20_000 },
  );
  expect(printed).toBe(output);
});

test("the README explains every figure of the statistics", () => {
  for (const key of Object.keys(new LRUCache().getStats())) expect(readme).toContain(`\`${key}\``);
});
