import type { CaseResult, ContenderResult } from "./comparison.ts";
import { barChart, type BarGroup } from "./chart.ts";
import { markdownTable, nanoseconds, perSecond, ratio, textTable } from "./format.ts";
import type { Machine } from "./machine.ts";
import type { Summary } from "./statistics.ts";

/** One comparison as it is written to JSON. */
export interface Report {
  comparison: string;
  title: string;
  /** A quick run shows that everything works; its figures are not for publication. */
  quick: boolean;
  machine: Machine;
  versions: Record<string, string>;
  cases: CaseResult[];
}

const HEAD = ["", "time/op", "min..max", "op/s", "CPU/op", "ours is … as fast", "CPU: rival / ours"];

/** The lines of a case for the terminal. */
export function caseText(result: CaseResult, versions: Record<string, string>): string {
  const rows = [HEAD, ...result.contenders.map((one) => cells(one, versions))];
  const answer = result.answer === null ? "" : `  every answer checked; of a round: ${JSON.stringify(result.answer)}\n`;
  const bad = result.contenders.filter((one) => one.disqualified !== undefined);
  const verdicts = bad.map((one) => `  DISQUALIFIED ${one.name}: ${one.disqualified}\n`).join("");
  return `${result.title}\n${textTable(rows)}\n  ${rounds(result)}\n${answer}${verdicts}`;
}

/** The measured section of the README for one comparison; `chart` is where its picture lies. */
export function reportMarkdown(report: Report, chart: string): string {
  const tables = report.cases.map(
    (one) =>
      `**${one.title}** (${rounds(one)})\n\n${markdownTable([HEAD, ...one.contenders.map((row) => cells(row, report.versions))])}`,
  );
  const notes = warnings(report).map((warning) => `**${warning}**`);
  return [`![${report.title}: time per operation](${chart})`, ...tables, machineText(report), ...notes].join("\n\n");
}

export function machineText({ machine, versions }: Pick<Report, "machine" | "versions">): string {
  const { cpu, cores, memoryGb, system, node, v8, loadBefore } = machine;
  const software = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return (
    `Machine: ${cpu}, ${cores} cores, ${memoryGb} GB, ${system}; load per core before the run ${loadBefore}. ` +
    `Node ${node} (V8 ${v8}); ${software.join(", ")}.`
  );
}

/** What makes figures unfit to be quoted, in words; empty when nothing does. */
export function warnings({ quick, machine, versions }: Omit<Report, "comparison" | "title" | "cases">): string[] {
  const found: string[] = [];
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

/** Time per operation as a picture, a group of bars for each case. */
export function reportChart(report: Report): string {
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

function cells(one: ContenderResult, versions: Record<string, string>): string[] {
  const name = one.library.startsWith("@vg/") ? one.name : withVersion(one.name, versions[one.library]);
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

/** "pg.Pool (named)" becomes "pg.Pool 8.23.1 (named)". */
function withVersion(name: string, version: string | undefined): string {
  const [library = "", ...rest] = name.split(" ");
  return [library, version ?? "", ...rest].join(" ");
}

function spread(value: Summary | undefined): string {
  if (value === undefined) return "";
  return `${ratio(value.median)} (${value.min.toFixed(2)}..${value.max.toFixed(2)})`;
}

function rounds(result: CaseResult): string {
  return `${result.rounds} rounds of ${result.operations.toLocaleString("en-US")} operations`;
}
