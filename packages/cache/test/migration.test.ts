import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { checkCacheOptions } from "../src/options.ts";

const run = promisify(execFile);
const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

const page = await readFile(new URL("../docs/migrating-from-lru-cache.md", import.meta.url), "utf8");
/** Our programs, each with its line in the page. */
const programs = [...page.matchAll(/^```ts\n(.*?)^```$/gmsu)].map(([, code], i) => ({
  name: `program ${i + 1}, at line ${lineOf(code!)}`,
  file: `program-${i + 1}.ts`,
  code: code!,
}));

/** A project elsewhere, with this package installed from source. */
let project: string;

beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "vg-migration-"));
  await mkdir(join(project, "node_modules", "@vg"), { recursive: true });
  await symlink(PACKAGE, join(project, "node_modules", "@vg", "cache"), "junction");
  await writeFile(join(project, "package.json"), JSON.stringify({ type: "module" }));
  const compilerOptions = { typeRoots: [join(PACKAGE, "node_modules", "@types")] };
  const tsconfig = { extends: join(ROOT, "tsconfig.base.json"), compilerOptions, include: ["*.ts"] };
  await writeFile(join(project, "tsconfig.json"), JSON.stringify(tsconfig));
  for (const { file, code } of programs) await writeFile(join(project, file), code);
});
afterAll(() => rm(project, { recursive: true, force: true }));

test("the programs of the page compile", async () => {
  expect(programs.length).toBeGreaterThan(10);
  const tsc = join(ROOT, "node_modules", "typescript", "bin", "tsc");
  const printed = await run(process.execPath, [tsc, "-p", project]).then(
    () => "",
    ({ stdout }: { stdout: string }) => stdout,
  );
  expect(printed).toBe("");
});

test.each(programs)("the page says what is printed: $name", async ({ file, code }) => {
  const options = { cwd: project, timeout: 20_000 };
  const { stdout } = await run(process.execPath, ["--conditions=@vg/source", file], options);
  expect(stdout.trimEnd().split("\n")).toEqual([...code.matchAll(/\/\/ → (.*)$/gmu)].map(([, line]) => line));
});

test("the page has every option of the constructor", () => {
  const names = Object.keys(checkCacheOptions({})).map((name) => (name === "idleMs" ? "defaultIdleMs" : name));
  expect(names.filter((name) => !page.includes(`\`${name}\``))).toEqual([]);
});

function lineOf(code: string): number {
  return page.slice(0, page.indexOf(code)).split("\n").length;
}
