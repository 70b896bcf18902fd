import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { publicPackages } from "../lib/packages.ts";
import { ROOT } from "../lib/tools.ts";

test("no package packs a dist that is older than its sources: each builds before", async () => {
  for (const { name, folder } of await publicPackages(ROOT)) {
    const { scripts } = JSON.parse(await readFile(join(folder, "package.json"), "utf8")) as {
      scripts: Record<string, string>;
    };
    // What it prints must not get into what `pnpm pack --json` prints.
    expect(scripts["prepack"]).toBe(`turbo run build --filter=${name} --output-logs=errors-only 1>&2`);
  }
});
