/** The tables of cases that belong to one setting: a line for each rival in each case, ours beside it. */
import type { CaseResult, ContenderResult } from "./comparison.ts";
import { nanoseconds, ratio } from "./format.ts";
import type { Summary } from "./statistics.ts";

const HEAD = ["", "ours", "beside", "its time/op", "ours is … as fast", "CPU: rival / ours", "bar", "median ≥ bar"];
const SERVER_HEAD = [
  "",
  "ours",
  "our CPU/op",
  "beside",
  "its time/op",
  "its CPU/op",
  "ours is … as fast",
  "bar",
  "CPU: rival / ours",
  "bar: CPU",
];

/** Below this share of the time on the CPU, our process waited for the server more than its own work explains. */
const WAITING = 0.7;

/** The cases of a setting, with the head of their table. */
export function settingTable(cases: readonly CaseResult[], versions: Record<string, string>): string[][] {
  const served = cases.some(({ server }) => server !== undefined);
  const rows = cases.flatMap((one) => {
    const [ours, ...rivals] = one.contenders;
    return rivals.map((rival, index) => {
      // What is said of ours stands in its first line only.
      const own = (text: string): string => (index === 0 ? text : "");
      const name = nameOf(rival, versions);
      return served
        ? [
            own(one.title),
            own(time(ours)),
            own(cpu(ours)),
            name,
            time(rival),
            cpu(rival),
            spread(rival.speedRatio),
            barText(rival.bar, rival.speedRatio),
            spread(rival.cpuRatio),
            cpuVerdict(one, rival),
          ]
        : [
            own(one.title),
            own(time(ours)),
            name,
            time(rival),
            spread(rival.speedRatio),
            spread(rival.cpuRatio),
            rival.bar === undefined ? "" : ratio(rival.bar),
            verdict(one, rival),
          ];
    });
  });
  return [served ? SERVER_HEAD : HEAD, ...rows];
}

/**
 * Whether ours, in this case, waited for the server rather than for itself: its process was on the CPU for less than
 * 70 % of the time. With one caller it waits for round trips, of which the server is only a part.
 */
export function serverIsLimit({ server, contenders: [ours] }: CaseResult): boolean {
  return server !== undefined && server.callers > 1 && ours?.onCpu !== undefined && ours.onCpu.median < WAITING;
}

/** Whether the bar is met, or why there is none. */
function verdict(one: CaseResult, { bar, speedRatio, differs, answerText }: ContenderResult): string {
  if (bar !== undefined && speedRatio !== undefined) return isMet(bar, speedRatio);
  if (differs === undefined) return "";
  if (answerText === undefined || answerText === one.answerText) return differs;
  return `${differs}: ${answerText}, exact ${one.answerText}`;
}

function cpuVerdict(one: CaseResult, { cpuBar, cpuRatio }: ContenderResult): string {
  if (cpuBar === undefined || cpuRatio === undefined) return "";
  if (serverIsLimit(one)) return barText(cpuBar, cpuRatio);
  return one.server?.callers === 1 ? "round trips limit" : "client limits";
}

function barText(bar: number | undefined, value: Summary | undefined): string {
  return bar === undefined || value === undefined ? "" : `${ratio(bar)} ${isMet(bar, value)}`;
}

function isMet(bar: number, value: Summary): string {
  return value.median >= bar ? "met" : "missed";
}

function time(one: ContenderResult | undefined): string {
  return one?.nsPerOp === undefined ? "disqualified" : nanoseconds(one.nsPerOp.median);
}

/** With its share of the time. */
function cpu(one: ContenderResult | undefined): string {
  if (one?.cpuNsPerOp === undefined || one.onCpu === undefined) return "";
  return `${nanoseconds(one.cpuNsPerOp.median)} (${(one.onCpu.median * 100).toFixed(0)} %)`;
}

export function nameOf(one: ContenderResult, versions: Record<string, string>): string {
  return one.library.startsWith("@vg/") ? one.name : withVersion(one.name, versions[one.library]);
}

/** "pg.Pool (named)" becomes "pg.Pool 8.23.1 (named)". */
function withVersion(name: string, version: string | undefined): string {
  const [library = "", ...rest] = name.split(" ");
  return [library, ...(version === undefined ? [] : [version]), ...rest].join(" ");
}

export function spread(value: Summary | undefined): string {
  if (value === undefined) return "";
  return `${ratio(value.median)} (${value.min.toFixed(2)}..${value.max.toFixed(2)})`;
}
