import { callTable } from "./call-table.ts";
import type { Yardstick } from "./comparison.ts";
import type { CaseResult, ContenderResult } from "./results.ts";
import { barChart, ratioChart, type BarGroup, type RatioGroup } from "./chart.ts";
import { markdownTable, nanoseconds, perSecond, ratio, textTable } from "./format.ts";
import type { Machine } from "./machine.ts";
import { allocationTable } from "./allocation-table.ts";
import { nameOf, settingTable, spread } from "./setting-table.ts";

/** One comparison as it is written to JSON. */
export interface Report {
  comparison: string;
  title: string;
  /** A quick run shows that everything works; its figures are not for publication. */
  quick: boolean;
  machine: Machine;
  versions: Record<string, string>;
  cases: CaseResult[];
  /** What could not be measured, and why. */
  leftOut?: readonly string[];
  yardstick?: Yardstick;
}

const ALLOCATION_TITLE = "Bytes of V8's heap for each operation";
const HEAD = ["", "time/op", "min..max", "op/s", "CPU/op", "ours is … as fast", "CPU: rival / ours"];

/** All cases for the terminal: a table each, or one for each setting. */
export function resultsText(cases: readonly CaseResult[], versions: Record<string, string>): string {
  const settings = bySetting(cases);
  if (settings.size === 0) return cases.map((one) => caseText(one, versions)).join("\n");
  const texts = [...settings].map(([setting, of]) => settingText(setting, of, versions));
  const allocated = allocationTable(cases, versions);
  if (allocated !== undefined) texts.push(`${ALLOCATION_TITLE}\n${textTable(allocated)}\n`);
  return texts.join("\n");
}

/** The lines of a case for the terminal. */
export function caseText(result: CaseResult, versions: Record<string, string>): string {
  const rows = [HEAD, ...result.contenders.map((one) => cells(one, versions))];
  const answer = result.answer === null ? "" : `  every answer checked; of a round: ${JSON.stringify(result.answer)}\n`;
  const bad = result.contenders.filter((one) => one.disqualified !== undefined);
  const verdicts = bad.map((one) => `  DISQUALIFIED ${one.name}: ${one.disqualified}\n`).join("");
  return `${result.title}\n${textTable(rows)}\n  ${rounds(result)}\n${answer}${verdicts}`;
}

function settingText(setting: string, cases: readonly CaseResult[], versions: Record<string, string>): string {
  const bad = disqualifications(cases).map((why) => `  DISQUALIFIED ${why}\n`);
  const table = `${setting}\n${textTable(settingTable(cases, versions))}\n  ${settingRounds(cases)}\n${bad.join("")}`;
  const calls = callTable(setting, cases, versions);
  return calls === undefined ? table : `${table}\n${calls.title}\n${textTable(calls.rows)}\n  ${calls.method}\n`;
}

function settingRounds(cases: readonly CaseResult[]): string {
  return `${rangeText(cases.map((one) => one.rounds))} rounds of ${rangeText(cases.map((one) => one.operations))} operations; every answer checked`;
}

function rangeText(values: readonly number[]): string {
  const [least, most] = [Math.min(...values), Math.max(...values)].map((value) => value.toLocaleString("en-US"));
  return least === most ? `${least}` : `${least} to ${most}`;
}

function disqualifications(cases: readonly CaseResult[]): string[] {
  return cases.flatMap((one) =>
    one.contenders.flatMap(({ name, disqualified }) =>
      disqualified === undefined ? [] : [`${name} (${one.title}): ${disqualified}`],
    ),
  );
}

export function yardstickText({ title, note, rows }: Yardstick): string {
  const table = rows.length === 0 ? "" : `${textTable(yardstickRows(rows))}\n`;
  return `${title}\n${table}${note === undefined ? "" : `  ${note}\n`}`;
}

function yardstickMarkdown({ title, note, rows }: Yardstick): string {
  const table = rows.length === 0 ? [] : [markdownTable(yardstickRows(rows))];
  return [`**${title}**`, ...table, ...(note === undefined ? [] : [note])].join("\n\n");
}

function yardstickRows(rows: Yardstick["rows"]): string[][] {
  return [
    ["", "time/op", "min..max", "op/s"],
    ...rows.map(({ name, nsPerOp: { median, min, max } }) => [
      name,
      nanoseconds(median),
      `${nanoseconds(min)}..${nanoseconds(max)}`,
      perSecond(median),
    ]),
  ];
}

/** The cases that belong to a setting, by its title. */
function bySetting(cases: readonly CaseResult[]): Map<string, CaseResult[]> {
  const settings = new Map<string, CaseResult[]>();
  for (const one of cases) {
    if (one.setting !== undefined) settings.set(one.setting, [...(settings.get(one.setting) ?? []), one]);
  }
  return settings;
}

/** The measured section of the README for one comparison; `chart` is where its picture lies. */
export function reportMarkdown(report: Report, chart: string): string {
  const { cases, versions, title, yardstick } = report;
  const settings = bySetting(cases);
  const caseTables = cases.map((one) => {
    const rows = one.contenders.map((row) => cells(row, versions));
    return `**${one.title}** (${rounds(one)})\n\n${markdownTable([HEAD, ...rows])}`;
  });
  const settingTables = [...settings].flatMap(([setting, of]) => {
    const table = `**${setting}** (${settingRounds(of)})\n\n${markdownTable(settingTable(of, versions))}`;
    const calls = callTable(setting, of, versions);
    return calls === undefined
      ? [table]
      : [table, `**${calls.title}** (${calls.method})\n\n${markdownTable(calls.rows)}`];
  });
  const tables = settings.size === 0 ? caseTables : [...settingTables, ...disqualifications(cases)];
  const allocated = allocationTable(cases, versions);
  if (allocated !== undefined) tables.push(`**${ALLOCATION_TITLE}**\n\n${markdownTable(allocated)}`);
  if (yardstick !== undefined) tables.push(yardstickMarkdown(yardstick));
  const notes = warnings(report).map((warning) => `**${warning}**`);
  const picture = settings.size === 0 ? "time per operation" : "how many times as fast ours is";
  return [`![${title}: ${picture}](${chart})`, ...tables, machineText(report), ...notes].join("\n\n");
}

export function machineText({ machine, versions }: Pick<Report, "machine" | "versions">): string {
  const { cpu, cores, memoryGb, system, node, v8, loadBefore } = machine;
  const software = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return (
    `Machine: ${cpu}, ${cores} cores, ${memoryGb} GB, ${system}; load per core before the run ${loadBefore}. ` +
    `Node ${node} (V8 ${v8}); ${software.join(", ")}.`
  );
}

/** What makes figures unfit to be quoted, or is missing among them, in words; empty when nothing does and nothing is. */
export function warnings(report: Omit<Report, "comparison" | "title" | "cases">): string[] {
  const { quick, machine, versions } = report;
  const found: string[] = [...(report.leftOut ?? [])];
  if (quick) found.push("A quick run: too short for figures to be quoted.");
  if (machine.loadBefore > 0.25) {
    found.push(`The machine was busy before the run (load ${machine.loadBefore} a core): don't quote these figures.`);
  }
  for (const [name, version] of Object.entries(versions)) {
    const [inner, owner] = name.split(" under ");
    const rival = versions[inner ?? ""];
    if (owner !== undefined && rival !== undefined && rival !== version) {
      found.push(`${owner} uses ${inner} ${version}, its rival is ${rival}: part of the difference may be theirs.`);
    }
  }
  return found;
}

/** Time per operation as a picture, a group of bars for each case; where there are settings, the ratios and their bars. */
export function reportChart(report: Report): string {
  const settings = bySetting(report.cases);
  if (settings.size > 0) {
    return ratioChart(
      report.title,
      "How many times as fast ours is: further to the right is better. The blue tick is the bar.",
      [...settings].map(([title, cases]) => ratioGroup(title, cases)),
    );
  }
  const groups = report.cases.map((one): BarGroup => ({
    title: one.title,
    bars: one.contenders.flatMap((row) =>
      row.nsPerOp === undefined
        ? []
        : [
            {
              label: row.name,
              value: row.nsPerOp,
              text: nanoseconds(row.nsPerOp.median),
              ours: row.library.startsWith("@vg/"),
            },
          ],
    ),
  }));
  return barChart(
    report.title,
    "Time per operation: less is better. The line goes from the least to the greatest round.",
    groups,
  );
}

/** What has no bar is left to the table. */
function ratioGroup(title: string, cases: readonly CaseResult[]): RatioGroup {
  const rows = cases.flatMap((one) =>
    one.contenders.flatMap(({ name, bar, speedRatio }) =>
      bar === undefined || speedRatio === undefined
        ? []
        : [{ label: `${one.title}: ${name}`, value: speedRatio, text: ratio(speedRatio.median), bar }],
    ),
  );
  return { title, rows };
}

function cells(one: ContenderResult, versions: Record<string, string>): string[] {
  const name = nameOf(one, versions);
  if (one.nsPerOp === undefined || one.cpuNsPerOp === undefined) return [name, "disqualified", "", "", "", "", ""];
  const { median, min, max } = one.nsPerOp;
  return [
    name,
    nanoseconds(median),
    `${nanoseconds(min)}..${nanoseconds(max)}`,
    perSecond(median),
    nanoseconds(one.cpuNsPerOp.median),
    spread(one.speedRatio),
    spread(one.cpuRatio),
  ];
}

function rounds(result: CaseResult): string {
  return `${result.rounds} rounds of ${result.operations.toLocaleString("en-US")} operations`;
}
