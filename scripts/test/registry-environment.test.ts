import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { registryEnvironment } from "../lib/registry.ts";
import { capture } from "../lib/run.ts";
import { temporaryFolder } from "../lib/temporary-folder.ts";
import { npmEnvironment } from "../lib/tools.ts";

const URL_HERE = "http://127.0.0.1:9/";

describe("whoever rehearses a release", () => {
  test("reaches only the local registry, whatever theirs for the scope is", async () => {
    await using folder = await temporaryFolder("registry-test");
    const registry = { url: URL_HERE, npmrc: join(folder.path, "npmrc"), configHome: join(folder.path, "config") };
    await mkdir(registry.configHome);
    await writeFile(registry.npmrc, `registry=${URL_HERE}\n@vg:registry=${URL_HERE}\n`);
    const own = join(folder.path, "own.npmrc");
    const machines = join(folder.path, "machine.npmrc");
    for (const file of [own, machines]) await writeFile(file, "@vg:registry=http://own.invalid/\n");
    const theirs = {
      ...npmEnvironment(),
      npm_config_userconfig: own,
      npm_config_globalconfig: machines,
      "npm_config_@vg:registry": "http://own.invalid/",
      XDG_CONFIG_HOME: join(folder.path, "own-config"),
    };
    const ask = async (env: NodeJS.ProcessEnv): Promise<string> =>
      (await capture("npm", ["config", "get", "@vg:registry"], { cwd: folder.path, env })).trim();
    expect(await ask(theirs)).toBe("http://own.invalid/");

    const rehearsed = registryEnvironment(theirs, registry, join(folder.path, "cache"));
    expect(await ask(rehearsed)).toBe(URL_HERE);
    // pnpm's own settings stand above an npmrc, so that theirs must not be found.
    expect(rehearsed["XDG_CONFIG_HOME"]).toBe(registry.configHome);
    // A shell drops a variable of such a name; the npmrc holds then.
    const { "npm_config_@vg:registry": _dropped, ...inShell } = rehearsed;
    expect(await ask(inShell)).toBe(URL_HERE);
  });
});
