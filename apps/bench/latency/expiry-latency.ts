/** `pnpm bench cache-latency`: how long a program is held up while a million entries expire. */
import { markdownTable, nanoseconds, textTable } from "../harness/format.ts";
import { packageVersions, type Machine } from "../harness/machine.ts";
import { measureInProcess } from "../harness/measuring-process.ts";
import { Progress } from "../harness/progress.ts";
import { publish, writeResults } from "../harness/publish.ts";
import { machineText, warnings } from "../harness/report.ts";
import { messageOf } from "../harness/values.ts";
import { percentileChart, percentileText, type PercentilePanel } from "./percentile-chart.ts";
import { causeOf, type Pause, type Stop } from "./stops.ts";

export interface ExpiryTask {
  library: string;
  entries: number;
  capacity: number;
  /** How long the filling may take. */
  fillMs: number;
  /** The deadlines are spread evenly over this time; 0: all in one millisecond. */
  spreadMs: number;
  /** How long the program goes on after the last deadline. */
  afterMs: number;
}

/** The shares of all operations whose percentiles are kept. */
export const CURVE: readonly number[] = [
  0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999, 0.99995, 0.99998, 0.99999, 0.999995,
  0.999998, 0.999999,
];

export interface Latency {
  count: number;
  maxNs: number;
  /** Nanoseconds at each share of `CURVE`. */
  curve: number[];
  /** The longest ones, the longest first. */
  worst: Stop[];
  /** The longest time, in milliseconds, that neither the collector nor the operating system explains. */
  elseWorst: number;
}

export interface ExpiryResult {
  /** Each get, set, look at the statistics, and purge. */
  operations: Latency;
  /** From the end of a slice of the program to the start of the next: what timers and the collector took in between. */
  loop: Latency;
  gc: { count: number; totalMs: number; longest: Pause | null };
  /** The longest `set` while the cache was filled: not part of the bar. */
  longestFill: Stop;
  /** The first look at the statistics or the size in this process, before the measurement. */
  firstLookMs: number;
  /** What the host took from all processors meanwhile, in steps of 10; null where the system doesn't say. */
  stolenMs: number | null;
  /** How many entries it counted as expired; null where it doesn't count. */
  expired: number | null;
  /** Gets of entries that were over, and by how much at most. */
  lateHits: number;
  latestMs: number;
  /** Gets that missed an entry before its time. */
  earlyMisses: number;
  /** Gets with the value of another key. */
  wrong: number;
}

interface Run extends ExpiryTask {
  name: string;
  result?: ExpiryResult;
  /** Why its figures don't count. */
  disqualified?: string;
}

interface Scenario {
  name: string;
  title: string;
  runs: Run[];
}

interface LatencyReport {
  quick: boolean;
  machine: Machine;
  versions: Record<string, string>;
  limitMs: number;
  shares: readonly number[];
  scenarios: Scenario[];
}

const PROCESS = new URL("./expiry-process.ts", import.meta.url);
const OURS = "@vg/cache";
const CONTENDERS = [
  OURS,
  "lru-cache ttlAutopurge",
  "lru-cache purgeStale",
  "@isaacs/ttlcache",
  // The program without a cache: what the machine and the measurement do by themselves.
  "nothing",
];
/** No stop of ours may take longer. */
const LIMIT_MS = 5;

const TITLE = "Entries expire while a program goes on";

export async function cacheLatency(
  machine: Machine,
  { quick, write }: { quick: boolean; write: boolean },
): Promise<boolean> {
  const versions = await packageVersions([OURS, "lru-cache", "@isaacs/ttlcache"]);
  const progress = new Progress();
  const scenarios = makeScenarios(quick);
  for (const { title, runs } of scenarios) {
    for (const run of runs) {
      progress.show(`cache-latency: ${title}`, run.name);
      await measure(run);
    }
  }
  progress.done();
  const report: LatencyReport = { quick, machine, versions, limitMs: LIMIT_MS, shares: CURVE, scenarios };
  console.log(`\n${TITLE}\n`);
  for (const scenario of scenarios) {
    console.log(`${scenario.title}\n${textTable(rows(scenario, versions))}\n`);
    for (const line of remarks(scenario)) console.log(`- ${line}`);
    console.log("");
  }
  console.log(machineText(report));
  for (const warning of warnings(report)) console.log(`NOTE: ${warning}`);
  const svg = chart(report);
  await writeResults("cache-latency", report, svg);
  if (write) await publish("cache-latency", report, markdown(report), svg);
  return scenarios.every(({ runs }) => runs.every(({ disqualified }) => disqualified === undefined));
}

function makeScenarios(quick: boolean): Scenario[] {
  const entries = quick ? 100_000 : 1_000_000;
  const fillMs = quick ? 1500 : 6000;
  const all = (task: Omit<ExpiryTask, "library">): Run[] =>
    CONTENDERS.map((library) => ({ name: library, library, ...task }));
  const spreadMs = quick ? 1000 : 8000;
  const count = entries.toLocaleString("en-US");
  return [
    {
      name: "moment",
      title: `${count} deadlines in one millisecond, in a full cache`,
      runs: all({ entries, capacity: entries, fillMs, spreadMs: 0, afterMs: quick ? 1000 : 5000 }),
    },
    {
      name: "spread",
      title: `${count} deadlines over ${spreadMs / 1000} s, in a cache with room for all keys`,
      // The program's other keys are less than this.
      runs: all({ entries, capacity: entries * 2, fillMs, spreadMs, afterMs: quick ? 300 : 1000 }),
    },
  ];
}

async function measure(run: Run): Promise<void> {
  const { name: _, ...task } = run;
  try {
    run.result = await measureInProcess<ExpiryResult>(PROCESS, task);
    const wrong = wrongAnswer(run, run.result);
    if (wrong !== undefined) run.disqualified = wrong;
  } catch (error) {
    run.disqualified = `failed: ${messageOf(error)}`;
  }
}

/** Others may serve late, which is printed; ours must not, and nobody may serve what was never stored. */
function wrongAnswer({ library, capacity, entries }: Run, result: ExpiryResult): string | undefined {
  if (result.wrong > 0) return `${result.wrong} gets gave the value of another key`;
  if (library !== OURS) return undefined;
  if (result.lateHits > 0) return `${result.lateHits} gets gave an expired value`;
  // In a full cache, what is missing may have been evicted.
  if (capacity > entries && result.earlyMisses > 0) return `${result.earlyMisses} gets missed a live entry`;
  return undefined;
}

const SHOWN = [0.5, 0.99, 0.999, 0.9999, 0.999999];

function rows({ runs }: Scenario, versions: Record<string, string>): string[][] {
  const head = [
    "",
    "operations",
    ...SHOWN.map(percentileText),
    "max",
    "cause of the max",
    "loop p99.9",
    "loop max",
    "cause of the loop's max",
    "else at most",
    "GC: longest",
    "served late",
    `no stop over ${LIMIT_MS} ms`,
  ];
  return [head, ...runs.map((run) => row(run, versions))];
}

function row(run: Run, versions: Record<string, string>): string[] {
  const { name, result, disqualified } = run;
  const [library = "", ...rest] = name.split(" ");
  const version = library === OURS ? undefined : versions[library];
  const label = [library, ...(version === undefined ? [] : [version]), ...rest].join(" ");
  if (disqualified !== undefined || result === undefined) return [label, "disqualified"];
  const { operations, loop, gc, lateHits, latestMs } = result;
  return [
    label,
    `${(operations.count / 1e6).toFixed(operations.count < 1e6 ? 2 : 1)} M`,
    ...SHOWN.map((share) => nanoseconds(operations.curve[CURVE.indexOf(share)]!)),
    nanoseconds(operations.maxNs),
    cause(operations),
    nanoseconds(loop.curve[CURVE.indexOf(0.999)]!),
    nanoseconds(loop.maxNs),
    cause(loop),
    nanoseconds(Math.max(operations.elseWorst, loop.elseWorst) * 1e6),
    gc.longest === null ? "–" : `${nanoseconds(gc.longest.ms * 1e6)} (${gc.longest.kind})`,
    lateHits === 0 ? "0" : `${lateHits.toLocaleString("en-US")} (${nanoseconds(latestMs * 1e6)})`,
    name === "nothing" ? "" : worstNs(result) <= LIMIT_MS * 1e6 ? "met" : "missed",
  ];
}

function worstNs({ operations, loop }: ExpiryResult): number {
  return Math.max(operations.maxNs, loop.maxNs);
}

function cause({ worst }: Latency): string {
  const [stop] = worst;
  return stop === undefined ? "–" : `${stop.what}: ${causeOf(stop)}`;
}

function remarks({ runs }: Scenario): string[] {
  const stolen = runs.flatMap(({ name, result }) =>
    (result?.stolenMs ?? 0) > 0 ? [`${name} ${result!.stolenMs} ms`] : [],
  );
  const host =
    stolen.length === 0
      ? []
      : [`Taken from this machine's processors by its host, in which it looks like work: ${stolen.join(", ")}.`];
  const own = runs.flatMap(({ name, result, disqualified }) => {
    if (disqualified !== undefined) return [`DISQUALIFIED ${name}: ${disqualified}`];
    if (name !== OURS || result === undefined) return [];
    const [stop] = [...result.operations.worst, ...result.loop.worst].toSorted((a, b) => b.ms - a.ms);
    const text =
      stop === undefined
        ? ""
        : ` The longest stop, ${ms(stop.ms)} (${stop.what}): ${ms(stop.gcMs)} garbage collection, up to ${ms(stop.offCpuMs)} not on the CPU.`;
    return [
      `${OURS}: ${(result.expired ?? 0).toLocaleString("en-US")} entries expired meanwhile; before, the longest \`set\` while it was filled took ${ms(result.longestFill.ms)} (${ms(result.longestFill.gcMs)} of it collection), the first look at the statistics ${ms(result.firstLookMs)}.${text}`,
    ];
  });
  return [...own, ...host];
}

function chart({ scenarios }: LatencyReport): string {
  const panels = scenarios.flatMap(({ title, runs }) =>
    (["operations", "loop"] as const).map((part): PercentilePanel => ({
      title: `${part === "operations" ? "Single operations" : "Turns of the event loop"}: ${title}`,
      lines: runs.flatMap(({ name, result, disqualified }) =>
        result === undefined || disqualified !== undefined
          ? []
          : [{ label: name, ours: name === OURS, ns: result[part].curve, maxNs: result[part].maxNs }],
      ),
    })),
  );
  return percentileChart(
    TITLE,
    "Time by percentile, both axes logarithmic: lower is better. The last point is the longest of all.",
    CURVE,
    LIMIT_MS * 1e6,
    panels,
  );
}

function markdown(report: LatencyReport): string {
  const { scenarios, versions } = report;
  return [
    `![${TITLE}: time by percentile](published/cache-latency.svg)`,
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

function ms(value: number): string {
  return `${value.toFixed(2)} ms`;
}
