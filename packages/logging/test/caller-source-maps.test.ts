import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build, type BuildOptions } from "esbuild";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ended, parseLines } from "./support/run.ts";

const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
const SOURCE = `import { createLogger } from "@vg/logging";
interface NotThereAtRunTime { gone: true }
type Neither = NotThereAtRunTime;

const logger = createLogger({ caller: "all" });
function handle(this: unknown): void {
  logger.info("in a function"); logger.info("on the same line");
}
enum Transformed { A }
handle();
logger.warn("at the top", { a: Transformed.A as unknown as Neither });
`;
const RIGHT = {
  "in a function": "server/chat.ts:7",
  "on the same line": "server/chat.ts:7",
  "at the top": "server/chat.ts:11",
};

let folder = "";
let source = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "vg-logging-maps-"));
  mkdirSync(join(folder, "server"));
  mkdirSync(join(folder, "node_modules", "@vg"), { recursive: true });
  symlinkSync(PACKAGE, join(folder, "node_modules", "@vg", "logging"), "junction");
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  source = join(folder, "server", "chat.ts");
  writeFileSync(source, SOURCE);
});
afterAll(() => rmSync(folder, { recursive: true }));

async function run(...args: string[]): Promise<Record<string, unknown>> {
  const child = spawn(process.execPath, ["--conditions=@vg/source", ...args], { cwd: folder });
  const { code, stdout, stderr } = await ended(child);
  expect(stderr).toBe("");
  expect(code).toBe(0);
  return Object.fromEntries(parseLines(stdout).map((line) => [line["message"], line["caller"]]));
}

/** Everything in one minified file, this package and pino included. */
async function bundled(options: BuildOptions): Promise<string> {
  const outfile = join(
    folder,
    "dist",
    `${options.format}-${String(options.sourcemap)}.${options.format === "esm" ? "mjs" : "cjs"}`,
  );
  await build({
    entryPoints: [source],
    bundle: true,
    minify: true,
    platform: "node",
    conditions: ["@vg/source"],
    outfile,
    logLevel: "error",
    banner:
      options.format === "esm"
        ? { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' }
        : {},
    ...options,
  });
  return outfile;
}

describe.each([
  ["esm", "linked"],
  ["esm", "inline"],
  ["cjs", "linked"],
  ["cjs", "inline"],
] as const)("a minified bundle, %s, its map %s", (format, sourcemap) => {
  test("shows the lines of the source where source maps are enabled, by the flag or by a call", async () => {
    const file = await bundled({ format, sourcemap });
    expect(await run("--enable-source-maps", file)).toEqual(RIGHT);
    const enabling = join(folder, "enable.mjs");
    writeFileSync(enabling, 'import module from "node:module"; module.setSourceMapsSupport(true);');
    expect(await run(`--import=${pathToFileURL(enabling).href}`, file)).toEqual(RIGHT);
  });

  test("shows its own lines where they are not", async () => {
    const found = await run(await bundled({ format, sourcemap }));
    expect(Object.keys(found)).toEqual(Object.keys(RIGHT));
    for (const caller of Object.values(found)) expect(caller).toMatch(/^dist\/(esm|cjs)-\w+\.[mc]js:\d+$/);
  });
});

test("tsx, which compiles on the way, shows the lines of the source", async () => {
  expect(await run(`--import=${import.meta.resolve("tsx")}`, source)).toEqual(RIGHT);
});

test("a stack formatter that maps by itself, as source-map-support does, is asked once a place", async () => {
  const file = await bundled({ format: "cjs", sourcemap: "linked" });
  const formatter = join(folder, "formatter.mjs");
  writeFileSync(
    formatter,
    `globalThis.asked = 0;
    Error.prepareStackTrace = (error, sites) => {
      globalThis.asked++;
      return "Error\\n" + sites.map((site, i) => "    at f (/srv/mapped/original.ts:" + (100 + i) + ":1)").join("\\n");
    };
    process.on("exit", () => { if (globalThis.asked !== 3) process.exitCode = 3; });`,
  );
  const found = await run(`--import=${pathToFileURL(formatter).href}`, file);
  expect(new Set(Object.values(found))).toEqual(new Set(["mapped/original.ts:100"]));
});

test("a worker's lines show the worker's places", async () => {
  const file = await bundled({ format: "esm", sourcemap: "linked" });
  const main = join(folder, "main.mjs");
  writeFileSync(
    main,
    `import { Worker } from "node:worker_threads"; import { once } from "node:events";
    await once(new Worker(${JSON.stringify(file)}), "exit");`,
  );
  expect(await run("--enable-source-maps", main)).toEqual(RIGHT);
});

test("callerSkip passes by the files of packages that log for others", async () => {
  const wrapper = (name: string): string => {
    const at = join(folder, "node_modules", name);
    mkdirSync(at, { recursive: true });
    writeFileSync(join(at, "package.json"), '{ "type": "module", "exports": "./index.js" }');
    writeFileSync(join(at, "index.js"), "export const warn = (logger, message) => {\n  logger.warn(message);\n};\n");
    return name;
  };
  const skipped = [wrapper("wraps"), wrapper("@scope/wraps")];
  wrapper("other");
  const main = join(folder, "server", "skip.mjs");
  writeFileSync(
    main,
    `import { createLogger } from "@vg/logging";
    import { warn as wraps } from "wraps"; import { warn as scoped } from "@scope/wraps"; import { warn as other } from "other";
    const logger = createLogger({ callerSkip: ${JSON.stringify(skipped)} });
    wraps(logger, "skipped");
    wraps(logger.pino, "skipped, pino's");
    scoped(logger, "skipped scope");
    other(logger, "not skipped");
    wraps(createLogger(), "not asked for");`,
  );
  expect(await run(main)).toEqual({
    skipped: "server/skip.mjs:4",
    "skipped, pino's": "server/skip.mjs:5",
    "skipped scope": "server/skip.mjs:6",
    "not skipped": "other/index.js:2",
    "not asked for": "wraps/index.js:2",
  });
});
