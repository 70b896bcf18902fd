/** `pnpm bench pool-db-acquire`: what lending a connection and taking it back costs, without a query and without I/O. */
import { readFileSync, realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { barChart } from "../harness/chart.ts";
import { markdownTable, nanoseconds, ratio, textTable } from "../harness/format.ts";
import { packageVersions, type Machine } from "../harness/machine.ts";
import { measureInProcess } from "../harness/measuring-process.ts";
import { Progress } from "../harness/progress.ts";
import { publish, writeResults } from "../harness/publish.ts";
import { machineText, warnings } from "../harness/report.ts";
import { speedRatios, summarise, type Summary } from "../harness/statistics.ts";
import { messageOf, textField } from "../harness/values.ts";

export interface AcquireTask {
  name: string;
  callers: number;
  connections: number;
  rounds: number;
}

export interface AcquireResult {
  /** Nanoseconds for each acquire and release, of each round. */
  nsPerOp: number[];
  /** What `heapUsed` grows by for each, in the median of some rounds without a collection. */
  bytesPerOp: number;
  /** How many connections were lent when it was busiest, and at the end. */
  most: number;
  left: number;
}

interface Entry {
  name: string;
  /** Why its figures don't count. */
  disqualified?: string;
  /** The rounds of all processes. */
  nsPerOp: number[];
  /** One for each process. */
  bytesPerOp: number[];
}

interface Scenario {
  title: string;
  callers: number;
  entries: Entry[];
}

interface AcquireReport {
  quick: boolean;
  machine: Machine;
  versions: Record<string, string>;
  connections: number;
  scenarios: Scenario[];
}

const PROCESS = new URL("./acquire-process.ts", import.meta.url);
const TITLE = "Acquire and release of a connection, without I/O";
const CONNECTIONS = 25;
const OURS = ["@vg/pool-db connect()", "@vg/pool-db acquire()"];
const RIVALS = ["pg.Pool connect()", "pg.Pool connect(), no idle timeout"];
/** Room for all that a round of the allocation's measurement makes. */
const FLAGS = ["--min-semi-space-size=64", "--max-semi-space-size=64"];

export async function poolDbAcquire(
  machine: Machine,
  { quick, write }: { quick: boolean; write: boolean },
): Promise<boolean> {
  const versions = { ...(await packageVersions(["@vg/pool-db", "pg"])), "pg-pool": pgPoolVersion() };
  const { launches, rounds } = quick ? { launches: 1, rounds: 3 } : { launches: 5, rounds: 5 };
  const progress = new Progress();
  const scenarios = [
    makeScenario("one caller: a connection is free", 1),
    makeScenario(`64 callers on ${CONNECTIONS} connections: most of them wait in line`, 64),
  ];
  for (const { title, callers, entries } of scenarios) {
    for (let launch = 0; launch < launches; launch++) {
      for (const entry of entries) {
        progress.show(`pool-db-acquire: ${title}`, entry.name, launch / launches);
        await measure(entry, { name: entry.name, callers, connections: CONNECTIONS, rounds });
      }
    }
  }
  progress.done();
  const report: AcquireReport = { quick, machine, versions, connections: CONNECTIONS, scenarios };
  console.log(`\n${TITLE}\n`);
  for (const scenario of scenarios) {
    console.log(`${scenario.title}\n${textTable(rows(scenario))}\n`);
    for (const line of remarks(scenario)) console.log(`- ${line}`);
    console.log("");
  }
  console.log(machineText(report));
  for (const warning of warnings(report)) console.log(`NOTE: ${warning}`);
  const svg = chart(report);
  await writeResults("pool-db-acquire", report, svg);
  if (write) await publish("pool-db-acquire", report, markdown(report), svg);
  return scenarios.every(({ entries }) => entries.every(({ disqualified }) => disqualified === undefined));
}

function makeScenario(title: string, callers: number): Scenario {
  const entries = [...OURS, ...RIVALS].map((name): Entry => ({ name, nsPerOp: [], bytesPerOp: [] }));
  return { title, callers, entries };
}

async function measure(entry: Entry, task: AcquireTask): Promise<void> {
  try {
    const result = await measureInProcess<AcquireResult>(PROCESS, task, FLAGS);
    const wrong = wrongAnswer(task, result);
    if (wrong !== undefined) entry.disqualified = wrong;
    entry.nsPerOp.push(...result.nsPerOp);
    entry.bytesPerOp.push(result.bytesPerOp);
  } catch (error) {
    entry.disqualified = `failed: ${messageOf(error)}`;
  }
}

export function wrongAnswer({ callers, connections }: AcquireTask, { most, left }: AcquireResult): string | undefined {
  const expected = Math.min(callers, connections);
  if (most !== expected) return `${most} connections were lent at a time, expected ${expected}`;
  if (left > 0) return `${left} connections were still lent at the end`;
  return undefined;
}

/** How many times as fast, and how many times as lean, the first one is. */
export function compare(ours: Entry, rival: Entry): { speed: Summary; bytes: Summary } | undefined {
  if (ours.disqualified !== undefined || rival.disqualified !== undefined) return undefined;
  return {
    speed: speedRatios(ours.nsPerOp, rival.nsPerOp),
    bytes: speedRatios(ours.bytesPerOp, rival.bytesPerOp),
  };
}

function rows({ entries }: Scenario): string[][] {
  const ours = entries.filter(({ name }) => OURS.includes(name));
  return [
    [
      "",
      "time/op",
      "min..max",
      "bytes/op",
      ...ours.flatMap(({ name }) => [`${short(name)} is … as fast`, "… as lean"]),
    ],
    ...entries.map((entry) => {
      if (entry.disqualified !== undefined) return [entry.name, "disqualified"];
      const { median, min, max } = summarise(entry.nsPerOp);
      const figures = [
        entry.name,
        nanoseconds(median),
        `${nanoseconds(min)}..${nanoseconds(max)}`,
        bytesText(summarise(entry.bytesPerOp).median),
      ];
      if (OURS.includes(entry.name)) return [...figures, ...ours.flatMap(() => ["", ""])];
      const ratios = ours.map((one) => compare(one, entry));
      return [...figures, ...ratios.flatMap((one) => [spread(one?.speed), spread(one?.bytes)])];
    }),
  ];
}

/** The bar, and whether each of ours meets it. */
function remarks({ entries }: Scenario): string[] {
  const bad = entries.filter(({ disqualified }) => disqualified !== undefined);
  const verdicts = OURS.map((name) => {
    const ours = entries.find((entry) => entry.name === name)!;
    const ratios = RIVALS.map((rival) =>
      compare(
        ours,
        entries.find((entry) => entry.name === rival)!,
      ),
    );
    const met = ratios.every((one) => one !== undefined && one.speed.median > 1 && one.bytes.median > 1);
    return `${short(name)} ${met ? "met" : "missed"}`;
  });
  return [
    ...bad.map(({ name, disqualified }) => `DISQUALIFIED ${name}: ${disqualified}`),
    `The bar: less time and fewer bytes than pg.Pool, with and without its timer for each release: ${verdicts.join(", ")}.`,
  ];
}

function chart({ scenarios }: AcquireReport): string {
  const groups = scenarios.flatMap(({ title, entries }) =>
    (["time", "bytes"] as const).map((what) => ({
      title: `${what === "time" ? "Time" : "Bytes allocated"}, ${title}`,
      bars: entries.flatMap(({ name, disqualified, nsPerOp, bytesPerOp }) => {
        if (disqualified !== undefined) return [];
        const value = summarise(what === "time" ? nsPerOp : bytesPerOp);
        const text = what === "time" ? nanoseconds(value.median) : bytesText(value.median);
        return [{ label: name.replace("connect(), ", ""), value, text, ours: OURS.includes(name) }];
      }),
    })),
  );
  return barChart(
    TITLE,
    "For each acquire and release: less is better. The line goes from the least to the greatest.",
    groups,
  );
}

function markdown(report: AcquireReport): string {
  return [
    `![${TITLE}: time and bytes](published/pool-db-acquire.svg)`,
    ...report.scenarios.flatMap((scenario) => [
      `**${scenario.title}**\n\n${markdownTable(rows(scenario))}`,
      remarks(scenario)
        .map((line) => `- ${line}`)
        .join("\n"),
    ]),
    machineText(report),
    ...warnings(report).map((warning) => `**${warning}**`),
  ].join("\n\n");
}

function short(name: string): string {
  return `\`${name.split(" ")[1]}\``;
}

function spread(value: Summary | undefined): string {
  return value === undefined ? "" : `${ratio(value.median)} (${value.min.toFixed(2)}..${value.max.toFixed(2)})`;
}

function bytesText(bytes: number): string {
  return `${Math.round(bytes).toLocaleString("en-US")} B`;
}

/** Of the pg-pool that pg brings. */
function pgPoolVersion(): string {
  const pg = realpathSync(fileURLToPath(new URL("../node_modules/pg", import.meta.url)));
  const manifest: unknown = JSON.parse(readFileSync(`${pg}/../pg-pool/package.json`, "utf8"));
  return textField(manifest, "version");
}
