import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { atExit } from "./cleanup.ts";

export interface TemporaryFolder extends AsyncDisposable {
  readonly path: string;
}

/**
 * A new folder of mode 0700 below the system's temporary folder: `await using folder = await temporaryFolder("pack")`.
 * It goes at the end of its scope, and at the latest with this process.
 */
export async function temporaryFolder(name: string): Promise<TemporaryFolder> {
  const path = await mkdtemp(join(tmpdir(), `vg-${name}-`));
  // A process that was only just told to end may still write: rm then finds the folder not empty and tries again.
  const options = { recursive: true, force: true, maxRetries: 5, retryDelay: 200 };
  const forget = atExit(() => rmSync(path, options));
  return {
    path,
    [Symbol.asyncDispose]: async () => {
      await rm(path, options);
      forget();
    },
  };
}
