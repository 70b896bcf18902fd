/**
 * node apps/bench/run.ts [cache|logging|pool-db|pool-http|guide|pooled-server|pool-db-acquire|pool-db-latency|cache-memory|cache-latency|metrics|hostile-values|all] [--quick] [--rounds N] [--noise] [--no-build] [--write]
 *
 * Compares the @vg packages with what their users would pick instead. See README.md.
 */
import { parseArgs } from "node:util";
import { leftOut, runComparison, type Comparison, type Settings } from "./harness/comparison.ts";
import { describeMachine, packageVersions, type Machine } from "./harness/machine.ts";
import { buildPackages, installRivals } from "./harness/prepare.ts";
import { Progress } from "./harness/progress.ts";
import { publish, writeResults } from "./harness/publish.ts";
import {
  machineText,
  reportChart,
  reportMarkdown,
  resultsText,
  warnings,
  yardstickText,
  type Report,
} from "./harness/report.ts";
import { messageOf } from "./harness/values.ts";

const COMPARISONS = ["cache", "logging", "pool-db", "pool-http"];
/** Measurements that are no comparison of speeds, by name. */
const OTHERS: Record<string, Measurement> = {
  guide: {
    packages: ["@vg/demo^..."],
    measure: async (...args) => await (await import("./guide/guide.ts")).guide(...args),
  },
  "pool-db-acquire": {
    packages: ["@vg/pool-db"],
    measure: async (...args) => await (await import("./pools/acquire.ts")).poolDbAcquire(...args),
  },
  "pool-db-latency": {
    packages: ["@vg/pool-db"],
    measure: async (...args) => await (await import("./pools/query-latency.ts")).poolDbLatency(...args),
  },
  metrics: {
    packages: ["@vg/pooled-server", "@vg/pooled-server^..."],
    measure: async (...args) => await (await import("./metrics/metrics.ts")).metrics(...args),
  },
  "pooled-server": {
    packages: ["@vg/pooled-server", "@vg/pooled-server^..."],
    measure: async (...args) => await (await import("./servers/pooled-server.ts")).pooledServer(...args),
  },
  "hostile-values": {
    packages: ["@vg/logging"],
    measure: async (...args) => await (await import("./hostile-values/hostile-values.ts")).hostileValues(...args),
  },
  "cache-memory": {
    packages: ["@vg/cache"],
    measure: async (...args) => await (await import("./memory/footprint.ts")).cacheMemory(...args),
  },
  "cache-latency": {
    packages: ["@vg/cache"],
    measure: async (...args) => await (await import("./latency/expiry-latency.ts")).cacheLatency(...args),
  },
};
const NAMES = [...COMPARISONS, ...Object.keys(OTHERS)];

const USAGE = `Usage: pnpm bench [${NAMES.join("|")}|all] [--quick] [--rounds N] [--noise] [--no-build] [--write]

  --quick     a few seconds each: shows that all works; the figures are not for quoting
  --rounds N  so many rounds for each contender instead of 9 (quick: 3)
  --noise     runs every rival a second time beside itself: how much do two equal contenders differ here?
  --no-build  takes each package's dist/ as it is
  --write     puts the tables, charts and JSON into README.md and published/`;

const QUICK: Settings = { budgetMs: 5_000, rounds: 3, usualRounds: 3, warmUpMs: 150, launches: 1, noise: false };
const FULL: Settings = { budgetMs: 34_000, rounds: 9, usualRounds: 9, warmUpMs: 400, launches: 3, noise: false };

interface Measurement {
  /** What must be built. */
  packages: readonly string[];
  /** False when something is wrong. It loads its module only when it is called: that may import what was not built before. */
  measure(machine: Machine, options: { quick: boolean; write: boolean }): Promise<boolean>;
}

interface Arguments {
  names: string[];
  settings: Settings;
  quick: boolean;
  build: boolean;
  write: boolean;
}

function readArguments(): Arguments {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      quick: { type: "boolean", default: false },
      rounds: { type: "string" },
      noise: { type: "boolean", default: false },
      "no-build": { type: "boolean", default: false },
      write: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    process.exit(0);
  }
  const names = positionals.length === 0 || positionals.includes("all") ? NAMES : positionals;
  const unknown = names.find((name) => !NAMES.includes(name));
  if (unknown !== undefined) throw new Error(`There is no comparison ${JSON.stringify(unknown)}.\n\n${USAGE}`);
  if (values.write && values.quick)
    throw new Error("--write publishes figures, and those of --quick are not for that.");
  const usual = values.quick ? QUICK : FULL;
  const rounds = Number(values.rounds ?? usual.rounds);
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > 1000) {
    throw new Error(`--rounds must be a whole number from 1 to 1000, got ${JSON.stringify(values.rounds)}.`);
  }
  const settings = { ...usual, rounds, noise: values.noise };
  return { names, settings, quick: values.quick, build: !values["no-build"], write: values.write };
}

/** Runs one comparison; false when a contender was disqualified. */
async function compare(name: string, machine: Machine, options: Arguments): Promise<boolean> {
  const { settings, quick, build, write } = options;
  // Only now: what these modules import may not have been installed before.
  const { comparison: whole }: { comparison: Comparison } = await import(`./comparisons/${name}.ts`);
  const comparison = quick ? { ...whole, cases: whole.cases.filter((one) => one.fullOnly !== true) } : whole;
  const own = {
    budgetMs: comparison.budgetMs?.[quick ? "quick" : "full"] ?? settings.budgetMs,
    warmUpMs: quick
      ? Math.min(settings.warmUpMs, comparison.warmUpMs ?? Infinity)
      : (comparison.warmUpMs ?? settings.warmUpMs),
  };
  if (build) await buildPackages(comparison.packages);
  const libraries = new Set(comparison.cases.flatMap((one) => one.contenders.map(({ library }) => library)));
  const progress = new Progress();
  const environment = await comparison.start?.();
  try {
    const versions = { ...(await packageVersions([...libraries])), ...environment?.versions };
    console.log(`\n${comparison.title}\n`);
    const cases = await runComparison(comparison, environment, { ...settings, ...own }, progress);
    console.log(resultsText(cases, versions));
    const report: Report = { comparison: name, title: comparison.title, quick, machine, versions, cases };
    const missing = leftOut(comparison, environment);
    if (missing.length > 0) report.leftOut = missing;
    if (comparison.yardstick !== undefined) {
      report.yardstick = await comparison.yardstick(environment, quick);
      console.log(yardstickText(report.yardstick));
    }
    console.log(machineText(report));
    for (const warning of warnings(report)) console.log(`NOTE: ${warning}`);
    const chart = reportChart(report);
    await writeResults(name, report, chart);
    if (write) await publish(name, report, reportMarkdown(report, `published/${name}.svg`), chart);
    return cases.every((one) => one.contenders.every(({ disqualified }) => disqualified === undefined));
  } finally {
    await environment?.stop();
  }
}

async function measureOther(name: string, machine: Machine, options: Arguments): Promise<boolean> {
  const { packages, measure } = OTHERS[name]!;
  if (options.build) await buildPackages(packages);
  return await measure(machine, options);
}

try {
  const options = readArguments();
  // Before this program itself makes the machine busy.
  const machine = describeMachine();
  await installRivals();
  let clean = true;
  for (const name of options.names) {
    const done = COMPARISONS.includes(name)
      ? await compare(name, machine, options)
      : await measureOther(name, machine, options);
    clean &&= done;
  }
  // A disqualified contender is a defect, of theirs, of ours or of the benchmark.
  if (!clean) process.exitCode = 1;
} catch (error) {
  console.error(messageOf(error));
  process.exitCode = 1;
}
