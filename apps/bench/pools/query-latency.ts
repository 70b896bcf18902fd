/** `pnpm bench pool-db-latency`: what pipelining does to single queries where there are more callers than connections. */
import { startDatabase } from "../comparisons/database-server.ts";
import { SLOW_MS } from "../comparisons/pool-db-workload.ts";
import { markdownTable, nanoseconds, perSecond, ratio, textTable } from "../harness/format.ts";
import { packageVersions, type Machine } from "../harness/machine.ts";
import { measureInProcess } from "../harness/measuring-process.ts";
import { Progress } from "../harness/progress.ts";
import { publish, writeResults } from "../harness/publish.ts";
import { machineText, warnings } from "../harness/report.ts";
import { median } from "../harness/statistics.ts";
import { messageOf } from "../harness/values.ts";
import { percentileChart, percentileText, type PercentilePanel } from "../latency/percentile-chart.ts";

export interface LatencyTask {
  client: string;
  dsn: string;
  connections: number;
  callers: number;
  /** Every so many-th query is slow; null: none. */
  slowEvery: number | null;
  warmUpMs: number;
  measureMs: number;
}

/** The shares of all queries whose percentiles are kept. */
export const CURVE: readonly number[] = [0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999];

export interface Latency {
  count: number;
  maxNs: number;
  /** Nanoseconds at each share of `CURVE`. */
  curve: number[];
}

export interface LatencyResult {
  nsPerOp: number;
  cpuNsPerOp: number;
  fast: Latency;
  slow: Latency;
  /** Queries that did not answer with the one row that was asked for. */
  wrong: number;
}

interface Run {
  name: string;
  library: string;
  /** Of each process. */
  results: LatencyResult[];
  /** Why its figures don't count. */
  disqualified?: string;
}

interface Scenario {
  name: string;
  title: string;
  callers: number;
  slowEvery: number | null;
  runs: Run[];
}

interface LatencyReport {
  quick: boolean;
  machine: Machine;
  versions: Record<string, string>;
  connections: number;
  shares: readonly number[];
  scenarios: Scenario[];
}

const PROCESS = new URL("./query-latency-process.ts", import.meta.url);
const TITLE = "Pipelining on and off: the latency of single queries";
const CONNECTIONS = 25;
const SLOW_EVERY = 50;
const OFF = "@vg/pool-db";
const ON = "@vg/pool-db pipelined";
const CONTENDERS: readonly { name: string; library: string }[] = [
  { name: OFF, library: "@vg/pool-db" },
  { name: ON, library: "@vg/pool-db" },
  { name: "postgres.js", library: "postgres" },
  { name: "pg.Pool", library: "pg" },
];

export async function poolDbLatency(
  machine: Machine,
  { quick, write }: { quick: boolean; write: boolean },
): Promise<boolean> {
  const libraries = [...new Set(CONTENDERS.map(({ library }) => library))];
  const length = quick ? { warmUpMs: 300, measureMs: 300 } : { warmUpMs: 1000, measureMs: 3000 };
  const progress = new Progress();
  const scenarios = (quick ? [64] : [64, 256]).flatMap((callers) => [
    makeScenario(callers, null),
    makeScenario(callers, SLOW_EVERY),
  ]);
  const database = await startDatabase();
  try {
    const versions = { ...(await packageVersions(libraries)), ...database.versions };
    const launches = quick ? 1 : 3;
    for (const { title, callers, slowEvery, runs } of scenarios) {
      for (let launch = 0; launch < launches; launch++) {
        for (const run of runs) {
          progress.show(`pool-db-latency: ${title}`, run.name, launch / launches);
          const task = { client: run.name, dsn: database.dsn, connections: CONNECTIONS, callers, slowEvery, ...length };
          await measure(run, task);
        }
      }
    }
    progress.done();
    const report: LatencyReport = {
      quick,
      machine,
      versions,
      connections: CONNECTIONS,
      shares: CURVE,
      scenarios,
    };
    console.log(`\n${TITLE}\n`);
    for (const scenario of scenarios) {
      console.log(`${scenario.title}\n${textTable(rows(scenario, versions))}\n`);
      for (const line of remarks(scenario)) console.log(`- ${line}`);
      console.log("");
    }
    console.log(machineText(report));
    for (const warning of warnings(report)) console.log(`NOTE: ${warning}`);
    const svg = chart(report);
    await writeResults("pool-db-latency", report, svg);
    if (write) await publish("pool-db-latency", report, markdown(report), svg);
    return scenarios.every(({ runs }) => runs.every(({ disqualified }) => disqualified === undefined));
  } finally {
    await database.stop();
  }
}

function makeScenario(callers: number, slowEvery: number | null): Scenario {
  const work = slowEvery === null ? "point selects" : `point selects, ${100 / slowEvery} % of which take ${SLOW_MS} ms`;
  return {
    name: `${slowEvery === null ? "even" : "slow"}-${callers}`,
    title: `${work}: ${callers} callers, ${CONNECTIONS} connections`,
    callers,
    slowEvery,
    runs: CONTENDERS.map((contender) => ({ ...contender, results: [] })),
  };
}

async function measure(run: Run, task: LatencyTask): Promise<void> {
  try {
    const result = await measureInProcess<LatencyResult>(PROCESS, task);
    if (result.wrong > 0) run.disqualified = `${result.wrong} wrong answers`;
    run.results.push(result);
  } catch (error) {
    // Not with the task, in which the password is.
    run.disqualified = `failed: ${messageOf(error).replaceAll(task.dsn, "the database")}`;
  }
}

/** One latency of several processes': the median of each percentile, and the longest of all. */
export function merged(latencies: readonly Latency[]): Latency {
  return {
    count: latencies.reduce((total, { count }) => total + count, 0),
    maxNs: Math.max(...latencies.map(({ maxNs }) => maxNs)),
    curve: CURVE.map((_, i) => median(latencies.map(({ curve }) => curve[i]!))),
  };
}

const SHOWN = [0.5, 0.9, 0.99, 0.999];

function rows({ runs, slowEvery }: Scenario, versions: Record<string, string>): string[][] {
  const slowHead = slowEvery === null ? [] : ["slow ones: p50", "p99"];
  const head = ["", "time/op", "op/s", "CPU/op", ...SHOWN.map(percentileText), "max", ...slowHead];
  return [
    head,
    ...runs.map((run) => {
      const { name, library, results, disqualified } = run;
      const label = library === "@vg/pool-db" ? name : `${name} ${versions[library]}`;
      if (disqualified !== undefined) return [label, "disqualified"];
      const fast = merged(results.map((result) => result.fast));
      const slow = merged(results.map((result) => result.slow));
      const nsPerOp = median(results.map((result) => result.nsPerOp));
      return [
        label,
        nanoseconds(nsPerOp),
        perSecond(nsPerOp),
        nanoseconds(median(results.map((result) => result.cpuNsPerOp))),
        ...SHOWN.map((share) => nanoseconds(at(fast, share))),
        nanoseconds(fast.maxNs),
        ...(slowEvery === null ? [] : [nanoseconds(at(slow, 0.5)), nanoseconds(at(slow, 0.99))]),
      ];
    }),
  ];
}

function at({ curve }: Latency, share: number): number {
  return curve[CURVE.indexOf(share)]!;
}

/** What pipelining changes, for the decision whether it is on by default. */
function remarks({ runs, slowEvery }: Scenario): string[] {
  const bad = runs.flatMap(({ name, disqualified }) =>
    disqualified === undefined ? [] : [`DISQUALIFIED ${name}: ${disqualified}`],
  );
  const [off, on] = [OFF, ON].map((name) => runs.find((run) => run.name === name && run.disqualified === undefined));
  if (off === undefined || on === undefined) return bad;
  const speed = median(off.results.map(({ nsPerOp }) => nsPerOp)) / median(on.results.map(({ nsPerOp }) => nsPerOp));
  const [before, after] = [off, on].map(({ results }) => merged(results.map(({ fast }) => fast)));
  const times = [0.5, 0.99].map((share) => `${percentileText(share)} ${ratio(at(after!, share) / at(before!, share))}`);
  const what = slowEvery === null ? "queries" : "fast queries";
  return [
    ...bad,
    `Pipelining on against off: ${ratio(speed)} the throughput; the ${what} take, by percentile, ${times.join(", ")}, ` +
      `max ${ratio(after!.maxNs / before!.maxNs)} the time.`,
  ];
}

function chart({ scenarios }: LatencyReport): string {
  const panels = scenarios.map(({ title, slowEvery, runs }): PercentilePanel => ({
    title: slowEvery === null ? title : `The fast of ${title}`,
    lines: runs.flatMap(({ name, results, disqualified }) => {
      if (disqualified !== undefined) return [];
      const { curve, maxNs } = merged(results.map(({ fast }) => fast));
      return [{ label: name, ours: name === ON, ns: curve, maxNs }];
    }),
  }));
  const note = "Time by percentile, both axes logarithmic: lower is better. The last point is the longest of all.";
  return percentileChart(TITLE, note, CURVE, undefined, panels);
}

function markdown(report: LatencyReport): string {
  const { scenarios, versions } = report;
  return [
    `![${TITLE}: time by percentile](published/pool-db-latency.svg)`,
    ...scenarios.flatMap((scenario) => [
      `**${scenario.title}**\n\n${markdownTable(rows(scenario, versions))}`,
      remarks(scenario)
        .map((line) => `- ${line}`)
        .join("\n"),
    ]),
    machineText(report),
    ...warnings(report).map((warning) => `**${warning}**`),
  ].join("\n\n");
}
