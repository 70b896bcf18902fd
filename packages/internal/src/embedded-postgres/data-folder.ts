/**
 * The data folder: a database cluster with its owner's password in a file beside the cluster's own, "vg-password".
 *
 * A cluster is made in a staging folder beside the data folder and then renamed, so that at every moment there is
 * either no cluster or a whole one, whenever this process or the machine ends.
 */
import { randomBytes } from "node:crypto";
import { chmod, chown, mkdir, readdir, readFile, realpath, rename, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { runBinary, whileOldBackendsEnd } from "./binaries.ts";
import type { Setup } from "./options.ts";
import { makePrivate, othersMayEnter, removeFolders, type Identity } from "./places.ts";

export const USER = "postgres";
const PASSWORD_FILE = "vg-password";
const STAGING = ".vg-init-";
/** Tells this process's staging folders from those of an earlier one that had the same id, as in containers. */
const RUN: string = randomBytes(6).toString("hex");
let stagings = 0;

/** A name that no other start uses. */
export function stagingFolder(dataDir: string): string {
  return `${dataDir}${STAGING}${process.pid}-${RUN}-${++stagings}`;
}

/** Throws where this folder cannot hold our data; changes nothing. Returns its absolute, real path. */
export async function checkDataFolder(option: string, identity: Identity | undefined): Promise<string> {
  const { folder, nearest } = await realFolder(resolve(option));
  const parent = nearest === folder ? dirname(folder) : nearest;
  if (identity !== undefined && !(await othersMayEnter(parent))) {
    throw new Error(
      `As root, PostgreSQL runs as the user "nobody", who may not enter ${parent}; choose a dataDir that everybody ` +
        `can reach, or start as another user`,
    );
  }
  if (nearest !== folder) return folder;

  const { uid, dev } = await stat(folder);
  const entries = await readdir(folder).catch((error: unknown) => {
    throw new Error(`The dataDir ${folder} is not a folder that can be read; it belongs to the user id ${uid}`, {
      cause: error,
    });
  });
  if (entries.includes("PG_VERSION")) {
    if (!entries.includes(PASSWORD_FILE)) {
      throw new Error(
        `The dataDir ${folder} holds a database cluster that was not made here (it has no file ${PASSWORD_FILE}); ` +
          `choose another folder`,
      );
    }
    const serverUid = identity?.uid ?? process.getuid?.();
    if (uid !== serverUid) {
      throw new Error(
        `The dataDir ${folder} belongs to the user id ${uid}, and the server would run as ${serverUid}; start as the ` +
          `user who made it, or choose another folder`,
      );
    }
  } else if (entries.length > 0) {
    throw new Error(
      `The dataDir ${folder} is not empty and holds no database cluster (${entries.length} entries, no PG_VERSION); ` +
        `choose a folder that is missing or empty. It was left as it is`,
    );
  } else if (dev !== (await stat(parent)).dev) {
    throw mountPoint(folder);
  }
  return folder;
}

/** Symbolic links resolved as far down as the path exists; `nearest` is its last part that does. */
async function realFolder(path: string): Promise<{ folder: string; nearest: string }> {
  const missing: string[] = [];
  for (let current = path; ; current = dirname(current)) {
    try {
      const nearest = await realpath(current);
      return { folder: join(nearest, ...missing), nearest };
    } catch (error) {
      if (!hasCode(error, "ENOENT") || current === dirname(current)) throw error;
      missing.unshift(basename(current));
    }
  }
}

/** Makes the cluster where there is none yet, and returns the password of its owner. */
export async function openDataFolder(setup: Setup): Promise<string> {
  const { dataDir, staging, identity } = setup;
  const existing = await readPassword(dataDir);
  if (existing !== undefined) return existing;

  await makeParents(dataDir, identity);
  await removeAbandoned(dataDir);
  const password = await initialise(setup);
  try {
    await rename(staging, dataDir);
    return password;
  } catch (error) {
    if (hasCode(error, "EBUSY", "EXDEV")) throw mountPoint(dataDir, error);
    // Somebody else was faster; theirs counts.
    const theirs = hasCode(error, "ENOTEMPTY", "EEXIST") ? await readPassword(dataDir) : undefined;
    if (theirs === undefined) throw error;
    await removeFolders(staging);
    return theirs;
  }
}

async function readPassword(dataDir: string): Promise<string | undefined> {
  try {
    return await readFile(join(dataDir, PASSWORD_FILE), "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

async function makeParents(dataDir: string, identity: Identity | undefined): Promise<void> {
  const parent = dirname(dataDir);
  const first = await mkdir(parent, { recursive: true });
  if (first === undefined || identity === undefined) return;
  // The umask may have closed the new folders to the server's user.
  for (let made = parent; made.length >= first.length; made = dirname(made)) await chmod(made, 0o755);
}

/** Removes what starts left behind that the machine ended in the middle of. */
async function removeAbandoned(dataDir: string): Promise<void> {
  const prefix = `${basename(dataDir)}${STAGING}`;
  for (const name of await readdir(dirname(dataDir))) {
    if (!name.startsWith(prefix)) continue;
    const [, pid, run] = /^(\d+)-([0-9a-f]+)-\d+$/.exec(name.slice(prefix.length)) ?? [];
    if (pid === undefined) continue;
    const inUse = Number(pid) === process.pid ? run === RUN : isAlive(Number(pid));
    if (!inUse) await removeFolders(join(dirname(dataDir), name));
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return hasCode(error, "EPERM");
  }
}

async function initialise(setup: Setup): Promise<string> {
  const { staging, scratch, identity, kept } = setup;
  const password = randomBytes(24).toString("base64url");
  const pwfile = join(scratch, "pwfile");
  await makePrivate(staging, identity);
  await writeFile(pwfile, password, { mode: 0o600 });
  if (identity !== undefined) await chown(pwfile, identity.uid, identity.gid);

  const args = ["-D", staging, "-U", USER, "--auth=scram-sha-256", `--pwfile=${pwfile}`, "--encoding=UTF8"];
  if (!kept) args.push("--no-sync");
  await runBinary(setup, "initdb", [...args, "--locale=C", "--no-instructions"]);

  // initdb wants an empty folder, so the password joins the cluster only now.
  const passwordFile = join(staging, PASSWORD_FILE);
  await writeFile(passwordFile, password, { mode: 0o600, flush: kept });
  if (identity !== undefined) await chown(passwordFile, identity.uid, identity.gid);
  return password;
}

/** Creates the database where it is missing, before the server starts. */
export async function createDatabase(setup: Setup, name: string): Promise<void> {
  if (name === "postgres") return;
  // The packages ship no psql; a single-user backend needs neither a client nor a running server.
  const args = ["--single", "-D", setup.dataDir, "-c", "log_error_verbosity=verbose", "-c", "log_line_prefix="];
  const statement = `CREATE DATABASE "${name.replaceAll('"', '""')}"\n`;
  const log = await whileOldBackendsEnd(() => runBinary(setup, "postgres", [...args, "postgres"], statement));
  // It exits with 0 even where the statement failed. 42P04: there is one of that name.
  const failure = /^ERROR:\s+(?!\s|42P04).*/m.exec(log)?.[0];
  if (failure !== undefined) throw new Error(`The database ${JSON.stringify(name)} could not be created: ${failure}`);
}

function mountPoint(folder: string, cause?: unknown): Error {
  return new Error(
    `The dataDir ${folder} is a mount point; choose a folder below it, such as ${join(folder, "data")}`,
    {
      cause,
    },
  );
}

function hasCode(error: unknown, ...codes: string[]): boolean {
  return codes.includes((error as NodeJS.ErrnoException).code ?? "");
}
