/**
 * Brings what a benchmark needs: the rivals, which are this folder's dependencies and nobody else's, and the built
 * packages, so that what is measured is what a user installs. Imports nothing that it may first have to install.
 */
import { spawn } from "node:child_process";
import { access, copyFile, readFile } from "node:fs/promises";
import { basename, delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";

const BENCH = fileURLToPath(new URL("..", import.meta.url));
const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const LOCKFILE = join(BENCH, "pnpm-lock.yaml");
/** A copy of the lockfile that was installed last, inside node_modules so that it goes with it. */
const INSTALLED = join(BENCH, "node_modules", ".bench-lock.yaml");

/** Installs this folder's dependencies, unless those of its lockfile are there already. */
export async function installRivals(): Promise<void> {
  const [wanted, installed] = await Promise.all([read(LOCKFILE), read(INSTALLED)]);
  if (wanted !== undefined && wanted === installed) return;
  console.error("Installing what the comparisons need into apps/bench (once, and when its lockfile changes) …");
  const [command, ...args] = pnpm();
  await run(command, [...args, "install", "--frozen-lockfile", "--ignore-workspace"], BENCH);
  await copyFile(LOCKFILE, INSTALLED);
}

/** Builds the packages and what they need; turbo skips what has not changed. */
export async function buildPackages(names: readonly string[]): Promise<void> {
  const turbo = join(ROOT, "node_modules", "turbo", "bin", "turbo");
  await access(turbo).catch(() => {
    throw new Error("turbo is not installed. Run the benchmarks from the repository's root with `pnpm bench`.");
  });
  console.error(`Building ${names.join(", ")} (cached) …`);
  const filters = names.map((name) => `--filter=${name}`);
  await run(process.execPath, [turbo, "run", "build", ...filters, "--output-logs=errors-only"], ROOT);
}

/** The pnpm that runs this program, or the one on PATH. */
function pnpm(): [string, ...string[]] {
  const running = process.env["npm_execpath"];
  if (running === undefined || !basename(running).startsWith("pnpm")) return ["pnpm"];
  return /\.[cm]?js$/.test(running) ? [process.execPath, running] : [running];
}

async function run(command: string, args: readonly string[], cwd: string): Promise<void> {
  const line = [command, ...args].map((word) => (word === command ? basename(word) : word)).join(" ");
  const output: string[] = [];
  const code = await new Promise<number | null>((resolve, reject) => {
    // The repository's own Node and tools come first on PATH, as in a script of its package.json.
    const PATH = [join(ROOT, "node_modules", ".bin"), process.env["PATH"] ?? ""].join(delimiter);
    const child = spawn(command, args, { cwd, env: { ...process.env, PATH }, stdio: ["ignore", "pipe", "pipe"] });
    child.stdout.on("data", (chunk: Buffer) => output.push(chunk.toString()));
    child.stderr.on("data", (chunk: Buffer) => output.push(chunk.toString()));
    child.once("error", (error) =>
      reject(new Error(`${line}: ${error.message}. Run the benchmarks with \`npx -y pnpm@12 bench\`.`)),
    );
    child.once("close", resolve);
  });
  if (code !== 0) throw new Error(`${line} failed with exit code ${code}:\n${output.join("").trim()}`);
}

async function read(path: string): Promise<string | undefined> {
  return await readFile(path, "utf8").catch(() => undefined);
}
