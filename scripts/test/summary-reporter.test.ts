import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { capture, CommandError } from "../lib/run.ts";

const SCRIPTS = fileURLToPath(new URL("..", import.meta.url));
const VITEST = join(SCRIPTS, "..", "node_modules", "vitest", "vitest.mjs");

/** What a real vitest prints with the reporter, run on files of test/fixtures. */
async function report(...files: string[]): Promise<string[]> {
  const include = files.map((file) => `test/fixtures/${file}.fixture.ts`);
  const config = { test: { include } };
  const args = [VITEST, "run", "--root", SCRIPTS, "--config", "test/fixtures/vitest.config.ts"];
  const options = { cwd: SCRIPTS, env: { ...process.env, FIXTURE_CONFIG: JSON.stringify(config) } };
  const output = await capture(process.execPath, args, options).catch((error: unknown) => {
    if (error instanceof CommandError) return error.output;
    throw error;
  });
  return output.trimEnd().split("\n");
}

describe("the closing line", () => {
  test("is the last one, plain and alone", async () => {
    const lines = await report("clean");
    expect(lines.at(-1)).toBe("1 passed, 0 failed, 0 skipped");
  });

  test("counts hooks that threw and files that could not be loaded as failed", async () => {
    const lines = await report("mixed", "unloadable");
    // "fails", the suite and the file.
    expect(lines.at(-1)).toBe("1 passed, 3 failed, 4 skipped");
  });

  test("comes after the skipped tests, which give their reason where they have one", async () => {
    const lines = await report("mixed");
    expect(lines.slice(lines.indexOf("Skipped:"))).toEqual([
      "Skipped:",
      "  fixtures: gives a reason: there is no promtool",
      "  fixtures: gives none",
      "  fixtures: is to be written",
      "  fixtures: a suite whose hook throws > does not run",
      "",
      "1 passed, 2 failed, 4 skipped",
    ]);
  });
});
