import type { CaseResult } from "./results.ts";
import { ratio } from "./format.ts";
import { nameOf } from "./setting-table.ts";

/**
 * What each contender allocated, in the cases where that was measured; undefined where there are none. Cases of the same
 * title and with the same contender of ours are one, and show it once.
 */
export function allocationTable(
  cases: readonly CaseResult[],
  versions: Record<string, string>,
): string[][] | undefined {
  const groups = new Map<string, CaseResult[]>();
  for (const one of cases) {
    if (one.contenders.every(({ bytesPerOp }) => bytesPerOp === undefined)) continue;
    const key = `${one.contenders[0]?.name} ${one.title}`;
    groups.set(key, [...(groups.get(key) ?? []), one]);
  }
  const rows = [...groups.values()].flatMap((group) => {
    const lines = group.flatMap((one, place) => linesOf(one, versions).slice(place === 0 ? 0 : 1));
    return lines.map((line, index) => [index === 0 ? group[0]!.title : "", ...line]);
  });
  return rows.length === 0 ? undefined : [["", "contender", "bytes/op", "min..max", "rival / ours"], ...rows];
}

/** Ours first. */
function linesOf({ contenders }: CaseResult, versions: Record<string, string>): string[][] {
  const [ours] = contenders;
  return contenders.map((contender) => {
    const { bytesPerOp } = contender;
    const name = nameOf(contender, versions);
    if (bytesPerOp === undefined) return [name, "disqualified", "", ""];
    const { median, min, max } = bytesPerOp;
    const times = contender === ours || ours?.bytesPerOp === undefined ? "" : ratio(median / ours.bytesPerOp.median);
    return [name, bytes(median), `${bytes(min)}..${bytes(max)}`, times];
  });
}

function bytes(count: number): string {
  return `${Math.round(count).toLocaleString("en-US")} B`;
}
