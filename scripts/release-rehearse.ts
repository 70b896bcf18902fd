/**
 * pnpm release:rehearse
 *
 * A whole release of HEAD, in a clone (publishing makes commits and tags), to a registry on this machine: version, build,
 * pack, lint, each package installed alone and run, publish, and @vg/pooled-server installed from the registry and run.
 * Third-party packages come from the registry that npm is configured with.
 */
import { cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { runConsumer, tarballsFor } from "./lib/consumer.ts";
import { lintTarball } from "./lib/lint-tarball.ts";
import { publicPackages, type PublicPackage, type Tarball } from "./lib/packages.ts";
import { registryEnvironment, startRegistry } from "./lib/registry.ts";
import { capture, run } from "./lib/run.ts";
import { runScript } from "./lib/steps.ts";
import { temporaryFolder } from "./lib/temporary-folder.ts";
import { npmEnvironment, ROOT, toolEnvironment } from "./lib/tools.ts";

// Tags and commits need an author, which a fresh machine has not.
const AUTHOR = {
  GIT_AUTHOR_NAME: "Release rehearsal",
  GIT_AUTHOR_EMAIL: "rehearsal@localhost",
  GIT_COMMITTER_NAME: "Release rehearsal",
  GIT_COMMITTER_EMAIL: "rehearsal@localhost",
};

await runScript(async (steps) => {
  await using folder = await temporaryFolder("release");
  const clone = join(folder.path, "clone");

  await steps.run("clone", async ({ note }) => {
    await capture("git", ["clone", "--quiet", "--no-hardlinks", ROOT, clone]);
    const changes = (await capture("git", ["status", "--porcelain"], { cwd: ROOT })).split("\n").filter(Boolean);
    if (changes.length > 0) note(`HEAD alone: ${changes.length} uncommitted changes are not part of it`);
  });
  const env = { ...(await toolEnvironment(clone)), ...AUTHOR };
  const tool = (command: string, ...args: string[]): Promise<void> => run(command, args, { cwd: clone, env });

  await steps.run("install", () => tool("pnpm", "install", "--frozen-lockfile"));
  await steps.run("version", async ({ note }) => {
    const before = await publicPackages(clone);
    const pending = await pendingChangesets(clone);
    if (pending === 0) {
      const names = before.map(({ name }) => name).join(",");
      await tool("changeset", "add", "--minor", names, "--message", "Rehearsal of a release");
    }
    note(
      pending === 0 ? "no changeset was pending; a minor one for every package was made up" : `${pending} changesets`,
    );
    await tool("changeset", "version");
    await checkVersions(before, await publicPackages(clone));
    await tool("git", "add", "--all");
    await tool("git", "commit", "--quiet", "--message", "Version packages");
    // A lockfile that the new versions do not fit would fail every frozen install of the release.
    await tool("pnpm", "install", "--frozen-lockfile");
  });
  await steps.run("build", () => tool("pnpm", "build"));

  await using registry = await steps.run("registry", () => startRegistry(folder.path));
  const local = registryEnvironment(env, registry, join(folder.path, "cache"));

  const tarballs = await steps.run("pack", async () => {
    // The local registry says what is published already: nothing.
    await run("changeset", ["pack", "--out-dir", "release"], { cwd: clone, env: local });
    return await readPublishPlan(join(clone, "release"));
  });
  await steps.run("lint tarballs (publint, attw)", async () => {
    for (const tarball of tarballs) await lintTarball(tarball, env);
  });
  for (const { short } of tarballs) {
    await steps.run(`consumer of ${short} alone`, () =>
      runConsumer({ programs: [short], installs: tarballsFor(short, tarballs) }),
    );
  }

  await steps.run("publish", async ({ note }) => {
    await run("changeset", ["publish", "--from-pack-dir", "release"], { cwd: clone, env: local });
    const tags = (await capture("git", ["tag", "--points-at", "HEAD"], { cwd: clone })).split("\n");
    const missing = tarballs.find(({ name, version }) => !tags.includes(`${name}@${version}`));
    if (missing !== undefined) throw new Error(`There is no git tag ${missing.name}@${missing.version}`);
    note(`${tarballs.length} packages, each with its git tag`);
  });
  await steps.run("install from the registry", () =>
    installAndRun(
      "pooled-server",
      tarballs,
      join(folder.path, "app"),
      registryEnvironment(npmEnvironment(), registry, join(folder.path, "cache")),
    ),
  );

  console.log("\nReleased, in rehearsal:");
  for (const { name, version } of tarballs) console.log(`  ${name}@${version}`);
});

async function pendingChangesets(root: string): Promise<number> {
  const files = await readdir(join(root, ".changeset"));
  return files.filter((file) => file.endsWith(".md") && file !== "README.md").length;
}

/** That something got a new version, and that whatever did says in its changelog why. */
async function checkVersions(before: readonly PublicPackage[], after: readonly PublicPackage[]): Promise<void> {
  const changed = after.filter(({ name, version }) => before.find((old) => old.name === name)?.version !== version);
  if (changed.length === 0) throw new Error("The changesets gave no package a new version");
  for (const { name, version, folder } of changed) {
    const changelog = await readFile(join(folder, "CHANGELOG.md"), "utf8");
    if (!changelog.includes(`## ${version}\n`)) throw new Error(`${name}: CHANGELOG.md does not mention ${version}`);
  }
}

/** The tarballs that `changeset pack` made, in the order in which they will be published. */
async function readPublishPlan(folder: string): Promise<Tarball[]> {
  const { plan } = JSON.parse(await readFile(join(folder, "publish-plan.json"), "utf8")) as {
    plan: { name: string; version: string; tarball: { path: string } }[][];
  };
  return plan.flat().map(({ name, version, tarball }) => ({
    name,
    version,
    short: name.replace("@vg/", ""),
    path: join(folder, tarball.path),
  }));
}

/** A fresh project that installs one package by its name alone, and runs the consumer's program for it. */
async function installAndRun(
  short: string,
  released: readonly Tarball[],
  folder: string,
  env: NodeJS.ProcessEnv,
): Promise<void> {
  await mkdir(folder);
  await writeFile(join(folder, "package.json"), '{ "private": true, "type": "module" }\n');
  await run("npm", ["install", "--silent", `@vg/${short}`], { cwd: folder, env });
  for (const { name, version } of released) {
    const manifest = await readFile(join(folder, "node_modules", name, "package.json"), "utf8");
    const installed = (JSON.parse(manifest) as { version: string }).version;
    if (installed !== version) throw new Error(`${name}@${installed} was installed, not ${version}`);
  }
  await cp(join(ROOT, "fixtures", "consumer", "src", `${short}.ts`), join(folder, "main.ts"));
  await run(process.execPath, ["main.ts"], { cwd: folder, env });
}
