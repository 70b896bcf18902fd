/** Whom the server runs as, and the folders that this user can reach. */
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { chown, mkdir, readFile, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

export interface Identity {
  uid: number;
  gid: number;
}

/** The user that the server runs as, where it may not run as this process's own. */
export async function serverIdentity(): Promise<Identity | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const passwd = await readFile("/etc/passwd", "utf8");
  const fields = /^nobody:[^:]*:(\d+):(\d+):/m.exec(passwd);
  if (fields === null) throw new Error('PostgreSQL refuses to run as root, and /etc/passwd has no user "nobody"');
  return { uid: Number(fields[1]), gid: Number(fields[2]) };
}

/** Where this start's temporary folder will be: named before it is made, so that the guard knows it from its first moment. */
export async function scratchFolder(identity: Identity | undefined): Promise<string> {
  return join(await reachableTemporaryFolder(identity), `vg-postgres-${randomBytes(8).toString("hex")}`);
}

/** Makes a new folder that only the server's user may look into. */
export async function makePrivate(folder: string, identity: Identity | undefined): Promise<void> {
  await mkdir(folder, { mode: 0o700 });
  if (identity !== undefined) await chown(folder, identity.uid, identity.gid);
}

async function reachableTemporaryFolder(identity: Identity | undefined): Promise<string> {
  if (identity === undefined) return tmpdir();
  for (const folder of [tmpdir(), "/tmp", "/var/tmp"]) {
    if (await othersMayEnter(folder)) return folder;
  }
  throw new Error(`No temporary folder that the user "nobody" may enter: tried ${tmpdir()}, /tmp and /var/tmp`);
}

/** Whether every folder from the root down to this one lets everybody pass. */
export async function othersMayEnter(folder: string): Promise<boolean> {
  for (let current = folder; ; current = dirname(current)) {
    const mode = (await stat(current).catch(() => undefined))?.mode ?? 0;
    if ((mode & constants.S_IXOTH) === 0) return false;
    if (current === dirname(current)) return true;
  }
}

/** Removes folders where they exist. A server that was just killed may still be writing: hence the retries. */
export async function removeFolders(...folders: string[]): Promise<void> {
  for (const folder of folders) await rm(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
}
