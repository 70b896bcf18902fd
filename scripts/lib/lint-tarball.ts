/** Whether a tarball is fit to be published: publint, attw, and what neither of them looks for. */
import { capture } from "./run.ts";
import type { Tarball } from "./packages.ts";

const REQUIRED = ["package.json", "README.md", "LICENSE", "dist/index.js", "dist/index.d.ts", "src/index.ts"];

interface Manifest {
  dependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
  exports?: unknown;
}

/** Rejects with all that is wrong with it. */
export async function lintTarball(tarball: Tarball, env: NodeJS.ProcessEnv): Promise<void> {
  const problems = await ourOwnChecks(tarball.path);
  if (problems.length > 0) throw new Error(`${tarball.name}: ${problems.join("; ")}`);
  await capture("publint", ["run", tarball.path, "--strict"], { env });
  // Not `--pack`, which calls `npm pack`: that ignores publishConfig.exports and leaves `workspace:` in.
  await capture("attw", [tarball.path, "--profile", "esm-only", "--no-emoji"], { env });
  console.log(`${tarball.name}@${tarball.version}: publint and attw have nothing to say`);
}

async function ourOwnChecks(tarball: string): Promise<string[]> {
  const problems: string[] = [];
  const listing = await capture("tar", ["-tzf", tarball]);
  const files = new Set(listing.split("\n").map((line) => line.replace(/^package\//, "")));
  for (const file of REQUIRED) {
    if (!files.has(file)) problems.push(`${file} is missing`);
  }
  const manifest = JSON.parse(await capture("tar", ["-xzOf", tarball, "package/package.json"])) as Manifest;
  const { dependencies, peerDependencies, optionalDependencies } = manifest;
  for (const [name, range] of Object.entries({ ...dependencies, ...peerDependencies, ...optionalDependencies })) {
    if (/^(workspace|catalog|link|file):/.test(range)) problems.push(`${name} is ${range}, which npm cannot install`);
    if (name === "@vg/internal") problems.push("it depends on @vg/internal, which is never published");
  }
  if (JSON.stringify(manifest.exports ?? {}).includes("@vg/source")) {
    problems.push("its exports have the condition @vg/source, which is for this repository alone");
  }
  const built = [...files].filter((file) => /^dist\/.*\.(js|d\.ts)$/.test(file)).map((file) => `package/${file}`);
  const code = built.length > 0 ? await capture("tar", ["-xzOf", tarball, ...built]) : "";
  if (/["']@vg\/internal/.test(code)) {
    problems.push("a file in dist/ imports @vg/internal, which should have been bundled");
  }
  // esbuild renames a class that names itself in its own body. Its keepNames would put that right at a call for each
  // function that is made at run time, which the fast paths feel.
  const renamed = /\bclass (_[A-Z]\w*)/.exec(code)?.[1];
  if (renamed !== undefined) {
    problems.push(
      `stack traces would show the class ${renamed.slice(1)} as ${renamed}: make new ones outside of its body`,
    );
  }
  return problems;
}
