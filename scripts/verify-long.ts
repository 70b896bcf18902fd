/**
 * pnpm verify:long [name …]
 *
 * What takes minutes or measures real time, for before a release. All of it, or the steps that are named: `clone` is
 * every step below "clone/". Goes on after a failure; the closing table says what failed.
 */
import { glob, readFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { installRivals } from "../apps/bench/harness/prepare.ts";
import { demoOfCleanClone, testOfCleanClone } from "./lib/clean-clone.ts";
import { runConsumer } from "./lib/consumer.ts";
import { packAll } from "./lib/packages.ts";
import { run } from "./lib/run.ts";
import { runScript, type StepContext } from "./lib/steps.ts";
import { temporaryFolder } from "./lib/temporary-folder.ts";
import { npmEnvironment, ROOT, toolEnvironment } from "./lib/tools.ts";

// A bound on real time may be missed once on a busy machine. All tries are shown.
const TRIES = 3;
// It takes a minute; a contender that hangs must not hold up everything else.
const BENCH_TIMEOUT_MS = 5 * 60_000;
// The longest takes ten minutes; one that hangs has failed.
const PROGRAM_TIMEOUT_MS = 30 * 60_000;

interface LongStep {
  readonly name: string;
  readonly run: (context: StepContext) => Promise<void>;
}

await runScript(async (steps) => {
  const env = await toolEnvironment();
  const selected = select(
    [
      { name: "clone/test", run: testOfCleanClone },
      { name: "clone/demo", run: demoOfCleanClone },
      { name: "rehearse", run: () => run("node", [join("scripts", "release-rehearse.ts")], { cwd: ROOT, env }) },
      { name: "bench/types", run: () => typesOfBenchmarks(env) },
      { name: "bench/quick", run: () => quickBenchmarks(env) },
      { name: "oldest-node", run: (context) => runOnOldestNode(context, env) },
      ...(await longPrograms(env)),
    ],
    process.argv.slice(2),
  );
  for (const { name, run: step } of selected) {
    // One failure should not hide the next one: the run takes long.
    await steps.run(name, step).catch((error: unknown) => console.error(`\n${(error as Error).message}`));
  }
});

function select(all: readonly LongStep[], names: readonly string[]): readonly LongStep[] {
  const matches = (step: LongStep, name: string): boolean => step.name === name || step.name.startsWith(`${name}/`);
  const unknown = names.find((name) => !all.some((step) => matches(step, name)));
  if (unknown !== undefined) {
    throw new Error(`There is no step ${JSON.stringify(unknown)}; there are ${all.map(({ name }) => name).join(", ")}`);
  }
  return names.length === 0 ? all : all.filter((step) => names.some((name) => matches(step, name)));
}

/** `pnpm typecheck` cannot know them: what they compare with is installed on demand. */
async function typesOfBenchmarks(env: NodeJS.ProcessEnv): Promise<void> {
  await installRivals();
  await run("tsc", ["-p", join("apps", "bench")], { cwd: ROOT, env });
}

/** Every comparison, for a moment: fails when a contender, ours or theirs, gave a wrong answer. */
async function quickBenchmarks(env: NodeJS.ProcessEnv): Promise<void> {
  const program = join("apps", "bench", "run.ts");
  await run("node", [program, "all", "--quick"], { cwd: ROOT, env, timeoutMs: BENCH_TIMEOUT_MS });
}

/** Every `long/*.ts` of packages and apps: programs that fail with an exit code. */
async function longPrograms(env: NodeJS.ProcessEnv): Promise<LongStep[]> {
  const files: string[] = [];
  for await (const file of glob("{packages,apps}/*/long/*.ts", { cwd: ROOT })) files.push(file);
  return files.toSorted().map((file): LongStep => {
    const [, folder = ""] = file.split(/[/\\]/);
    return {
      name: `long/${folder}/${basename(file, ".ts")}`,
      run: async ({ note }) => {
        for (let attempt = 1; ; attempt++) {
          try {
            await run("node", ["--conditions=@vg/source", file], { cwd: ROOT, env, timeoutMs: PROGRAM_TIMEOUT_MS });
            if (attempt > 1) note(`try ${attempt} of ${TRIES} passed`);
            return;
          } catch (error) {
            if (attempt === TRIES) throw error;
            console.error(`Try ${attempt} of ${TRIES}: ${(error as Error).message}`);
          }
        }
      },
    };
  });
}

/** The consumer's programs on the oldest Node.js that the packages promise to support. */
async function runOnOldestNode({ note }: StepContext, env: NodeJS.ProcessEnv): Promise<void> {
  await run("pnpm", ["build"], { cwd: ROOT, env });
  await using folder = await temporaryFolder("oldest-node");
  const tarballs = await packAll(ROOT, folder.path, env);
  const manifest = JSON.parse(await readFile(join(ROOT, "packages", "cache", "package.json"), "utf8")) as {
    engines: { node: string };
  };
  const oldest = manifest.engines.node.replace(">=", "");
  await run("npm", ["install", "--silent", "--prefix", folder.path, `node@${oldest}`], { env: npmEnvironment() });
  await runConsumer({
    programs: tarballs.map(({ short }) => short),
    installs: tarballs.map(({ path }) => path),
    node: join(folder.path, "node_modules", "node", "bin", "node"),
  });
  note(`Node.js ${oldest}`);
}
