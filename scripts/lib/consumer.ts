/** A user of the packages: fixtures/consumer, copied elsewhere, with tarballs installed, compiled and run. */
import { cp, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { temporaryFolder } from "./temporary-folder.ts";
import { run } from "./run.ts";
import { npmEnvironment, ROOT } from "./tools.ts";

const FIXTURE = join(ROOT, "fixtures", "consumer");
const PROJECT = ["package.json", "package-lock.json", ".npmrc", "tsconfig.json"];

export interface Consumer {
  /** The programs of fixtures/consumer/src to compile and run, without ".ts": those of the packages installed. */
  readonly programs: readonly string[];
  /** What to install besides the fixture's own tools: paths of tarballs. */
  readonly installs: readonly string[];
  /** The Node.js that runs the programs. Default: the one that runs this script. */
  readonly node?: string;
}

/** Installs, compiles with `skipLibCheck: false` and runs. Rejects at the first thing that does not work. */
export async function runConsumer({ programs, installs, node = process.execPath }: Consumer): Promise<void> {
  await using folder = await temporaryFolder("consumer");
  const options = { cwd: folder.path, env: npmEnvironment() };
  for (const file of PROJECT) await cp(join(FIXTURE, file), join(folder.path, file));
  await mkdir(join(folder.path, "src"));
  // Programs of packages that are not installed would not compile.
  for (const program of programs) {
    await cp(join(FIXTURE, "src", `${program}.ts`), join(folder.path, "src", `${program}.ts`));
  }
  await run("npm", ["ci", "--silent", "--prefer-offline"], options);
  await run("npm", ["install", "--silent", "--no-save", "--no-package-lock", "--prefer-offline", ...installs], options);
  await run(process.execPath, [join("node_modules", "typescript", "bin", "tsc"), "-p", "."], options);
  for (const program of programs) await run(node, [join("dist", `${program}.js`)], options);
}

/**
 * What must be installed to use one package as a user would: itself, and those of this repository that it needs.
 * npm brings the rest, a peer such as pg included.
 */
export function tarballsFor(
  short: string,
  tarballs: readonly { readonly short: string; readonly path: string }[],
): string[] {
  const wanted = short === "pooled-server" ? tarballs : tarballs.filter((tarball) => tarball.short === short);
  return wanted.map(({ path }) => path);
}
