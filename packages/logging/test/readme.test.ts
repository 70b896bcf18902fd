import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ended } from "./support/run.ts";

const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
const readme = readFileSync(join(PACKAGE, "README.md"), "utf8");
const blocks = (language: string): string[] =>
  [...readme.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, "gms"))].map((block) => block[1] ?? "");

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "vg-logging-readme-"));
  mkdirSync(join(folder, "src"));
  mkdirSync(join(folder, "node_modules", "@vg"), { recursive: true });
  symlinkSync(PACKAGE, join(folder, "node_modules", "@vg", "logging"), "junction");
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
});
afterAll(() => rmSync(folder, { recursive: true }));

async function run(source: string): Promise<string> {
  const path = join(folder, "src", "main.ts");
  writeFileSync(path, source);
  const { code, stdout, stderr } = await ended(spawn(process.execPath, ["--conditions=@vg/source", path]));
  expect(stderr).toBe("");
  expect(code).toBe(0);
  return stdout;
}

const withoutTime = (text: string): string => text.replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, "<time>");

test("the first program of README.md prints what README.md says", async () => {
  const output = await run(blocks("ts")[0] ?? "");
  expect(withoutTime(output)).toBe(withoutTime(blocks("json")[0] ?? "missing"));
});

test("on the console its third line is the one of README.md", async () => {
  const output = await run((blocks("ts")[0] ?? "").replace('format: "json"', 'format: "console", color: "never"'));
  expect(withoutTime(blocks("text")[0] ?? "missing")).toBe(`${withoutTime(output).split("\n")[2]}\n`);
});

test("the other programs of README.md run", async () => {
  const others = blocks("ts").slice(1);
  expect(others).toHaveLength(6);
  for (const source of others) await run(source);
});
