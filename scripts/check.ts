/**
 * pnpm check [--skip-tests]
 *
 * All that CI runs, in CI's order. Stops at the first step that fails and names it; a table of all steps closes the run.
 * --skip-tests leaves out the first step, for when the tests have just run.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { runConsumer } from "./lib/consumer.ts";
import { lintTarball } from "./lib/lint-tarball.ts";
import { packAll } from "./lib/packages.ts";
import { run } from "./lib/run.ts";
import { runScript } from "./lib/steps.ts";
import { temporaryFolder } from "./lib/temporary-folder.ts";
import { ROOT, toolEnvironment } from "./lib/tools.ts";

await runScript(async (steps) => {
  const { values } = parseArgs({ options: { "skip-tests": { type: "boolean", default: false } } });
  const env = await toolEnvironment();
  const tool = (command: string, ...args: string[]): Promise<void> => run(command, args, { cwd: ROOT, env });

  if (!values["skip-tests"]) await steps.run("tests", () => tool("pnpm", "test"));
  // Not vitest: the benchmarks are no workspace member. These tests need none of the rivals.
  await steps.run("tests of the benchmarks", () => tool("node", "--test", "apps/bench/test/*.test.ts"));
  await steps.run("types", () => tool("pnpm", "typecheck"));
  await steps.run("types of scripts", () => tool("tsc", "-p", join("scripts", "tsconfig.json")));
  await steps.run("lint (oxlint)", () => tool("oxlint", "--type-aware", "--deny-warnings"));
  await steps.run("format (oxfmt)", () => tool("oxfmt", "--check", "."));
  await steps.run("unused (knip)", () => tool("knip"));
  await steps.run("build", () => tool("pnpm", "build"));

  await using folder = await temporaryFolder("check");
  const tarballs = await steps.run("package lint (publint, attw)", async ({ note }) => {
    const packed = await packAll(ROOT, folder.path, env);
    for (const tarball of packed) await lintTarball(tarball, env);
    note(`${packed.length} tarballs`);
    return packed;
  });
  await steps.run("consumer: install, compile, run", async ({ note }) => {
    const programs = tarballs.map(({ short }) => short);
    await runConsumer({ programs, installs: tarballs.map(({ path }) => path) });
    note(`${programs.length} packages from their tarballs`);
  });
});
