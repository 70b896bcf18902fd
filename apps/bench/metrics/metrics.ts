/** `pnpm bench metrics`: what a scrape of 10,000 lines does to the event loop, and what counting costs. */
import { barChart } from "../harness/chart.ts";
import { markdownTable, nanoseconds, ratio, textTable } from "../harness/format.ts";
import { packageVersions, type Machine } from "../harness/machine.ts";
import { measureInProcess } from "../harness/measuring-process.ts";
import { Progress } from "../harness/progress.ts";
import { publish, writeResults } from "../harness/publish.ts";
import { machineText, warnings } from "../harness/report.ts";
import { speedRatios, summarise } from "../harness/statistics.ts";
import { messageOf } from "../harness/values.ts";

export type Operation = "inc, bound" | "observe, bound" | "inc, labels looked up" | "observe, labels looked up";

export interface MetricsTask {
  contender: string;
  kind: "counter" | "histogram" | "operations";
  /** How many lines the benchmark's own metrics have. */
  lines: number;
  scrapes: number;
  rounds: number;
}

export interface Scrape {
  /** The longest time for which the server's event loop did nothing else. */
  stallMs: number;
  /** The same by the thread's own time, to about a millisecond: what other processes take from it is not in it. */
  stallCpuMs: number;
  /** From the request to the last byte. */
  totalMs: number;
  bytes: number;
  /** The process's first one, before V8 has optimised anything; not in the medians. */
  first?: boolean;
}

export interface MetricsResult {
  scrapes: Scrape[];
  lines: number;
  sum: number;
  /** Of each round, by operation. */
  nsPerOp: Record<string, number[]>;
}

interface Entry {
  contender: string;
  /** Why its figures don't count. */
  disqualified?: string;
  results: MetricsResult[];
}

interface Scenario {
  kind: MetricsTask["kind"];
  title: string;
  entries: Entry[];
}

interface MetricsReport {
  quick: boolean;
  machine: Machine;
  versions: Record<string, string>;
  scenarios: Scenario[];
}

const PROCESS = new URL("./metrics-process.ts", import.meta.url);
const TITLE = "A scrape of 10,000 lines, and counting";
const LINES = 10_000;
const STALL_BAR_MS = 10;
const [OURS, OURS_OPEN_METRICS, RIVAL] = ["@vg/pooled-server", "@vg/pooled-server, OpenMetrics", "prom-client"];

export async function metrics(
  machine: Machine,
  { quick, write }: { quick: boolean; write: boolean },
): Promise<boolean> {
  const versions = await packageVersions(["@vg/pooled-server", "prom-client"]);
  const { launches, scrapes, rounds } = quick
    ? { launches: 1, scrapes: 10, rounds: 3 }
    : { launches: 5, scrapes: 40, rounds: 5 };
  const scraped = [OURS, OURS_OPEN_METRICS, RIVAL];
  const scenarios = [
    scenario("counter", `Scrape of a counter with ${LINES.toLocaleString("en-US")} series`, scraped),
    scenario("histogram", `Scrape of a histogram with ${LINES.toLocaleString("en-US")} lines`, scraped),
    scenario("operations", "Counting", [OURS, RIVAL]),
  ];
  const progress = new Progress();
  for (const { kind, title, entries } of scenarios) {
    for (let launch = 0; launch < launches; launch++) {
      for (const entry of entries) {
        progress.show(`metrics: ${title}`, entry.contender, launch / launches);
        await measure(entry, { contender: entry.contender, kind, lines: LINES, scrapes, rounds });
      }
    }
    for (const entry of entries) {
      const wrong = wrongAnswer(kind, entry, entries.at(-1)!);
      if (wrong !== undefined) entry.disqualified ??= wrong;
    }
  }
  progress.done();
  const report: MetricsReport = { quick, machine, versions, scenarios };
  console.log(`\n${TITLE}\n`);
  for (const one of scenarios) console.log(`${one.title}\n${textTable(rows(one))}\n`);
  for (const line of remarks(scenarios)) console.log(`- ${line}`);
  console.log(`\n${machineText(report)}`);
  for (const warning of warnings(report)) console.log(`NOTE: ${warning}`);
  const svg = chart(scenarios);
  await writeResults("metrics", report, svg);
  if (write) await publish("metrics", report, markdown(report), svg);
  return scenarios.every(({ entries }) => entries.every(({ disqualified }) => disqualified === undefined));
}

function scenario(kind: MetricsTask["kind"], title: string, contenders: readonly string[]): Scenario {
  return { kind, title, entries: contenders.map((contender) => ({ contender, results: [] })) };
}

async function measure(entry: Entry, task: MetricsTask): Promise<void> {
  try {
    entry.results.push(await measureInProcess<MetricsResult>(PROCESS, task));
  } catch (error) {
    entry.disqualified = `failed: ${messageOf(error)}`;
  }
}

/** Everybody shows the same lines, with the same figures. */
function wrongAnswer(kind: MetricsTask["kind"], { results }: Entry, rival: Entry): string | undefined {
  if (kind === "operations") return undefined;
  const expected = rival.results[0];
  for (const { lines, sum } of results) {
    if (lines < LINES) return `${lines} lines, expected ${LINES}`;
    if (lines !== expected?.lines) return `${lines} lines, prom-client ${expected?.lines}`;
    if (Math.abs(sum - expected.sum) > 1e-6 * expected.sum)
      return `the figures' sum is ${sum}, prom-client's ${expected.sum}`;
  }
  return undefined;
}

const scrapesOf = ({ results }: Entry): Scrape[] => results.flatMap(({ scrapes }) => scrapes);
const settled = (entry: Entry): Scrape[] => scrapesOf(entry).filter(({ first }) => first !== true);

function rows({ kind, entries }: Scenario): string[][] {
  if (kind === "operations") return operationRows(entries);
  return [
    ["", "longest stall: median", "worst", "worst, CPU", "first scrape", "time of a scrape", "min..max", "KiB"],
    ...entries.map((entry) => {
      if (entry.disqualified !== undefined) return [entry.contender, `disqualified: ${entry.disqualified}`];
      const scrapes = settled(entry);
      const stall = summarise(scrapes.map(({ stallMs }) => stallMs));
      const cpu = summarise(scrapes.map(({ stallCpuMs }) => stallCpuMs));
      const total = summarise(scrapes.map(({ totalMs }) => totalMs));
      const first = summarise(scrapesOf(entry).flatMap((one) => (one.first === true ? [one.stallMs] : [])));
      const bytes = scrapes[0]?.bytes ?? 0;
      return [
        entry.contender,
        ...[stall.median, stall.max, cpu.max, first.median, total.median].map(milliseconds),
        `${milliseconds(total.min)}..${milliseconds(total.max)}`,
        Math.round(bytes / 1024).toLocaleString("en-US"),
      ];
    }),
  ];
}

function operationRows(entries: readonly Entry[]): string[][] {
  const [ours, rival] = entries;
  const of = (entry: Entry | undefined, operation: string): number[] =>
    entry?.results.flatMap(({ nsPerOp }) => nsPerOp[operation] ?? []) ?? [];
  const operations = Object.keys(ours?.results[0]?.nsPerOp ?? {});
  return [
    ["time/op", ours?.contender ?? "", rival?.contender ?? "", "ours is … as fast"],
    ...operations.map((operation) => {
      const [own, other] = [of(ours, operation), of(rival, operation)];
      const speed = speedRatios(own, other);
      return [
        operation,
        nanoseconds(summarise(own).median),
        nanoseconds(summarise(other).median),
        `${ratio(speed.median)} (${speed.min.toFixed(2)}..${speed.max.toFixed(2)})`,
      ];
    }),
  ];
}

/** The bar, and whether it is met. */
function remarks(scenarios: readonly Scenario[]): string[] {
  return scenarios.flatMap(({ kind, title, entries }) => {
    if (kind === "operations") return [];
    const worst = entries.flatMap((entry) =>
      entry.contender === RIVAL ? [] : settled(entry).map(({ stallMs }) => stallMs),
    );
    const met = worst.length > 0 && Math.max(...worst) < STALL_BAR_MS;
    return [`${title}: the bar is a loop that never stalls for ${STALL_BAR_MS} ms: ${met ? "met" : "missed"}.`];
  });
}

function chart(scenarios: readonly Scenario[]): string {
  const groups = scenarios
    .filter(({ kind }) => kind !== "operations")
    .flatMap(({ title, entries }) =>
      (["stallMs", "totalMs"] as const).map((what) => ({
        title: `${title}: ${what === "stallMs" ? "longest stall of the event loop" : "time"}`,
        bars: entries
          .filter(({ disqualified }) => disqualified === undefined)
          .map((entry) => {
            const value = summarise(settled(entry).map((one) => one[what]));
            return { label: entry.contender, value, text: milliseconds(value.median), ours: entry.contender !== RIVAL };
          }),
      })),
    );
  return barChart(TITLE, "Less is better. The line goes from the least to the greatest.", groups);
}

function markdown(report: MetricsReport): string {
  return [
    `![${TITLE}](published/metrics.svg)`,
    ...report.scenarios.map((one) => `**${one.title}**\n\n${markdownTable(rows(one))}`),
    remarks(report.scenarios)
      .map((line) => `- ${line}`)
      .join("\n"),
    machineText(report),
    ...warnings(report).map((warning) => `**${warning}**`),
  ].join("\n\n");
}

const milliseconds = (ms: number): string => `${ms.toFixed(2)} ms`;
