import { nanoseconds } from "./format.ts";
import type { CallTimesResult, CaseResult, ContenderResult } from "./results.ts";
import { nameOf, spread } from "./setting-table.ts";
import type { Summary } from "./statistics.ts";

export interface CallTable {
  readonly title: string;
  /** How they were timed. */
  readonly method: string;
  readonly rows: readonly (readonly string[])[];
}

const HEAD = ["", "contender", "p50", "min..max", "p99", "min..max", "p50: rival / ours", "p99: rival / ours"];

/** What single calls took in the cases of a setting; undefined where none were timed. */
export function callTable(
  setting: string,
  cases: readonly CaseResult[],
  versions: Record<string, string>,
): CallTable | undefined {
  const timed = cases.flatMap(({ contenders }) => contenders.flatMap(({ callTimes }) => callTimes ?? []));
  if (timed.length === 0) return undefined;
  const rows = cases
    .filter(({ contenders }) => contenders.some(({ callTimes }) => callTimes !== undefined))
    .flatMap((one) => one.contenders.map((row, index) => [index === 0 ? one.title : "", ...cells(row, versions)]));
  return { title: `A single call: ${lowerFirst(setting)}`, method: methodOf(timed), rows: [HEAD, ...rows] };
}

function methodOf(timed: readonly CallTimesResult[]): string {
  const samples = Math.min(...timed.map((one) => one.samples));
  const calls = Math.min(...timed.map((one) => one.calls)).toLocaleString("en-US");
  const clock = timed.map(({ clockNs }) => clockNs.median);
  const [least, most] = [nanoseconds(Math.min(...clock)), nanoseconds(Math.max(...clock))];
  const taken = least === most ? least : `${least} to ${most}`;
  return `${samples} samples of ${calls} calls, each timed by itself; in each figure are ${taken} of reading the clock`;
}

function cells(one: ContenderResult, versions: Record<string, string>): string[] {
  const name = nameOf(one, versions);
  const { callTimes } = one;
  if (callTimes === undefined) return [name, "disqualified", "", "", "", "", ""];
  const { p50Ns, p99Ns, p50Ratio, p99Ratio } = callTimes;
  return [
    name,
    nanoseconds(p50Ns.median),
    range(p50Ns),
    nanoseconds(p99Ns.median),
    range(p99Ns),
    spread(p50Ratio),
    spread(p99Ratio),
  ];
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}

function range({ min, max }: Summary): string {
  return `${nanoseconds(min)}..${nanoseconds(max)}`;
}
