import { readFile } from "node:fs/promises";
import { arch, availableParallelism, cpus, loadavg, release, totalmem, type } from "node:os";
import { textField } from "./values.ts";

/** What the figures depend on besides the code. No date and no name of a host. */
export interface Machine {
  cpu: string;
  cores: number;
  memoryGb: number;
  system: string;
  node: string;
  v8: string;
  /** The load average over the minute before the run, a core; near 0 on a machine that has nothing else to do. */
  loadBefore: number;
}

export function describeMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memoryGb: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()} ${arch()}`,
    node: process.version,
    v8: process.versions.v8,
    loadBefore: Math.round(((loadavg()[0] ?? 0) / availableParallelism()) * 100) / 100,
  };
}

/** The versions of installed packages, by name; a package of ours says which version of its own dependency it uses. */
export async function packageVersions(names: readonly string[]): Promise<Record<string, string>> {
  const versions: Record<string, string> = {};
  for (const name of names) {
    // `Machine` has it.
    if (name === "node") continue;
    const folder = new URL(`../node_modules/${name}/`, import.meta.url);
    versions[name] = await versionOf(folder);
    if (!name.startsWith("@vg/")) continue;
    for (const inner of ["pg", "pino", "undici"]) {
      const version = await versionOf(new URL(`node_modules/${inner}/`, folder)).catch(() => undefined);
      if (version !== undefined) versions[`${inner} under ${name}`] = version;
    }
  }
  return versions;
}

async function versionOf(folder: URL): Promise<string> {
  const manifest: unknown = JSON.parse(await readFile(new URL("package.json", folder), "utf8"));
  return textField(manifest, "version");
}
