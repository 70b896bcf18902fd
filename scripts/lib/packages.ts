/** The packages that are published, and their tarballs. */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { capture } from "./run.ts";

export interface PublicPackage {
  readonly name: string;
  readonly version: string;
  /** Its folder's name: "cache" for @vg/cache. */
  readonly short: string;
  readonly folder: string;
}

export interface Tarball {
  readonly name: string;
  readonly version: string;
  readonly short: string;
  readonly path: string;
}

/** The packages of the repository at `root` that are not private, by name. */
export async function publicPackages(root: string): Promise<PublicPackage[]> {
  const shorts = await readdir(join(root, "packages"));
  const found: PublicPackage[] = [];
  for (const short of shorts.toSorted()) {
    const folder = join(root, "packages", short);
    const manifest = JSON.parse(await readFile(join(folder, "package.json"), "utf8")) as {
      name: string;
      version: string;
      private?: boolean;
    };
    if (manifest.private !== true) found.push({ name: manifest.name, version: manifest.version, short, folder });
  }
  return found;
}

/**
 * Packs them; each builds its dist/ before, unless that is of its sources already. pnpm does it: npm knows neither
 * `workspace:` nor publishConfig.exports.
 */
export async function packAll(root: string, folder: string, env: NodeJS.ProcessEnv): Promise<Tarball[]> {
  const tarballs: Tarball[] = [];
  for (const one of await publicPackages(root)) {
    const output = await capture("pnpm", ["pack", "--pack-destination", folder, "--json"], { cwd: one.folder, env });
    const { filename } = JSON.parse(output) as { filename: string };
    tarballs.push({ name: one.name, version: one.version, short: one.short, path: filename });
  }
  return tarballs;
}
