/**
 * Brings what a benchmark needs: the rivals, which are this folder's dependencies and nobody else's, and the built
 * packages, so that what is measured is what a user installs. Imports nothing that it may first have to install.
 */
import { access, copyFile, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { capture } from "../../../scripts/lib/run.ts";
import { ROOT, toolEnvironment } from "../../../scripts/lib/tools.ts";

const BENCH = fileURLToPath(new URL("..", import.meta.url));
const LOCKFILE = join(BENCH, "pnpm-lock.yaml");
/** A copy of the lockfile that was installed last, inside node_modules so that it goes with it. */
const INSTALLED = join(BENCH, "node_modules", ".bench-lock.yaml");

/** Installs this folder's dependencies, unless those of its lockfile are there already. */
export async function installRivals(): Promise<void> {
  const [wanted, installed] = await Promise.all([read(LOCKFILE), read(INSTALLED)]);
  if (wanted !== undefined && wanted === installed) return;
  console.error("Installing what the comparisons need into apps/bench (once, and when its lockfile changes) …");
  await tool("pnpm", ["install", "--frozen-lockfile", "--ignore-workspace", "--ignore-scripts"], BENCH);
  await copyFile(LOCKFILE, INSTALLED);
}

/** Builds the packages and what they need; turbo skips what has not changed. */
export async function buildPackages(names: readonly string[]): Promise<void> {
  await access(join(ROOT, "node_modules", ".bin", "turbo")).catch(() => {
    throw new Error("turbo is not installed. Run the benchmarks from the repository's root with `pnpm bench`.");
  });
  console.error(`Building ${names.join(", ")} (cached) …`);
  const filters = names.map((name) => `--filter=${name}`);
  await tool("turbo", ["run", "build", ...filters, "--output-logs=errors-only"], ROOT);
}

/** Runs a tool in silence, where it finds the other tools, pnpm among them, by name. Rejects with what it printed. */
async function tool(command: string, args: readonly string[], cwd: string): Promise<void> {
  await capture(command, args, { cwd, env: await toolEnvironment() });
}

async function read(path: string): Promise<string | undefined> {
  return await readFile(path, "utf8").catch(() => undefined);
}
