/** The tables of cases that belong to one setting: a line for each rival in each case, ours beside it. */
import type { CaseResult, ContenderResult } from "./results.ts";
import { nanoseconds, perSecond, ratio } from "./format.ts";
import type { Summary } from "./statistics.ts";

interface Column {
  readonly head: string;
  readonly cell: (rival: ContenderResult, one: CaseResult) => string;
  /** What is said of ours, and stands in the first line of a case only. */
  readonly own?: boolean;
}

const TITLE: Column = { head: "", own: true, cell: (_, one) => one.title };
const OURS: Column = { head: "ours", own: true, cell: (_, { contenders: [ours] }) => time(ours) };
const OUR_CPU: Column = { head: "our CPU/op", own: true, cell: (_, { contenders: [ours] }) => cpu(ours) };
const ITS_TIME: Column = { head: "its time/op", cell: (rival) => time(rival) };
const ITS_CPU: Column = { head: "its CPU/op", cell: (rival) => cpu(rival) };
const SPEED: Column = { head: "ours is … as fast", cell: ({ speedRatio }) => spread(speedRatio) };
const CPU_RATIO: Column = { head: "CPU: rival / ours", cell: ({ cpuRatio }) => spread(cpuRatio) };
const BAR: Column = { head: "bar", cell: ({ bar }) => (bar === undefined ? "" : ratio(bar)) };
const VERDICT: Column = { head: "median ≥ bar", cell: (rival, one) => verdict(one, rival) };
const BAR_AND_VERDICT: Column = { head: "bar", cell: ({ bar, speedRatio }) => barText(bar, speedRatio) };
const CPU_BAR: Column = { head: "bar: CPU", cell: (rival, one) => cpuVerdict(one, rival) };
const SERVER: Column = {
  head: "server busy: ours, beside",
  cell: (rival, { contenders: [ours] }) => `${share(ours?.serverBusy)}, ${share(rival.serverBusy)}`,
};

/** Below this share of the time on the CPU, our process waited for the server more than its own work explains. */
const WAITING = 0.7;

/** The cases of a setting, with the head of their table. */
export function settingTable(cases: readonly CaseResult[], versions: Record<string, string>): string[][] {
  const beside: Column = { head: "beside", cell: (rival) => nameOf(rival, versions) };
  const any = (has: (one: ContenderResult) => boolean): boolean => cases.some((one) => one.contenders.some(has));
  const rate = cases.find((one) => one.rate !== undefined)?.rate;
  const columns =
    rate !== undefined
      ? [TITLE, ourRate(rate), OUR_CPU, beside, itsRate(rate), ITS_CPU, SPEED, CPU_RATIO, BAR, VERDICT]
      : cases.some(({ server }) => server !== undefined)
        ? [TITLE, OURS, OUR_CPU, beside, ITS_TIME, ITS_CPU, SPEED, BAR_AND_VERDICT, CPU_RATIO]
        : [TITLE, OURS, beside, ITS_TIME, SPEED, CPU_RATIO, BAR, VERDICT];
  if (any(({ cpuBar }) => cpuBar !== undefined)) columns.push(CPU_BAR);
  if (any(({ serverBusy }) => serverBusy !== undefined)) columns.push(SERVER);
  const rows = cases.flatMap((one) =>
    one.contenders
      .slice(1)
      .map((rival, index) => columns.map(({ own, cell }) => (own === true && index > 0 ? "" : cell(rival, one)))),
  );
  return [columns.map(({ head }) => head), ...rows];
}

/**
 * Whether ours, in this case, waited for the server rather than for itself: its process was on the CPU for less than
 * 70 % of the time. With one caller it waits for round trips, of which the server is only a part.
 */
export function serverIsLimit({ server, contenders: [ours] }: CaseResult): boolean {
  return server !== undefined && server.callers > 1 && ours?.onCpu !== undefined && ours.onCpu.median < WAITING;
}

function ourRate(of: string): Column {
  return { head: `ours: ${of}/s`, own: true, cell: (_, { contenders: [ours] }) => rateOf(ours) };
}

function itsRate(of: string): Column {
  return { head: `its ${of}/s`, cell: (rival) => rateOf(rival) };
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

function rateOf(one: ContenderResult | undefined): string {
  return one?.nsPerOp === undefined ? "disqualified" : perSecond(one.nsPerOp.median);
}

/** With its share of the time. */
function cpu(one: ContenderResult | undefined): string {
  if (one?.cpuNsPerOp === undefined || one.onCpu === undefined) return "";
  return `${nanoseconds(one.cpuNsPerOp.median)} (${share(one.onCpu)})`;
}

function share(of: Summary | undefined): string {
  return of === undefined ? "–" : `${(of.median * 100).toFixed(0)} %`;
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
