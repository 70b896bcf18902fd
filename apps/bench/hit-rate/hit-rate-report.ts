import type { PolicyName } from "../../../packages/cache/src/policy/make-policy.ts";
import { markdownTable } from "../harness/format.ts";

export interface HitRateRow {
  trace: string;
  events: number;
  capacity: number;
  hits: Record<PolicyName, number>;
  optimum: number;
}

export const TITLES: Readonly<Record<PolicyName, string>> = {
  lru: "LRU",
  sieve: "SIEVE",
  s3fifo: "S3-FIFO",
  tinylfu: "W-TinyLFU",
};

const RIVALS = ["sieve", "s3fifo", "tinylfu"] as const;

/** A gap between LRU and the optimum of at least so many points is one that a policy may be expected to narrow. */
export const WIDE_GAP = 10;

/** Hit rate in percent. */
export function rate(row: HitRateRow, hits: number): number {
  return (100 * hits) / row.events;
}

/** Points of the hit rate between LRU and the optimum. */
export function gap(row: HitRateRow): number {
  return rate(row, row.optimum - row.hits.lru);
}

/** How much of the way from LRU to the optimum a policy goes: 1 is all of it, below 0 it hits less than LRU does. */
export function gapClosed(row: HitRateRow, policy: PolicyName): number {
  return (row.hits[policy] - row.hits.lru) / (row.optimum - row.hits.lru);
}

/** The traces in short, and all figures folded away. */
export function hitRateMarkdown(rows: readonly HitRateRow[], chart: string): string {
  const traces = new Set(rows.map(({ trace }) => trace)).size;
  return `![Hit rates on ${traces} traces by the number of entries: optimum and policies](${chart})

${summary(rows)}

<details><summary>All ${rows.length} figures: hit rate in percent, and in brackets the share of the gap between LRU and the optimum that it closes</summary>

${fullTable(rows)}

</details>`;
}

function summary(rows: readonly HitRateRow[]): string {
  const wide = rows.filter((row) => gap(row) >= WIDE_GAP);
  const narrow = rows.filter((row) => gap(row) < WIDE_GAP);
  const lead = (row: HitRateRow, policy: PolicyName): number => rate(row, row.hits[policy] - row.hits.lru);
  const body = RIVALS.map((policy) => {
    const closed = wide.reduce((sum, row) => sum + gapClosed(row, policy), 0) / wide.length;
    const won = wide.filter((row) => lead(row, policy) >= 5).length;
    const close = narrow.filter((row) => lead(row, policy) >= -1).length;
    const leads = rows.map((row) => lead(row, policy));
    return [
      TITLES[policy],
      `${Math.round(100 * closed)} %`,
      `${won} of ${wide.length}`,
      `${close} of ${narrow.length}`,
      points(Math.max(...leads)),
      points(Math.min(...leads)),
    ];
  });
  return markdownTable([
    [
      "beside LRU",
      `of a gap of ${WIDE_GAP} points or more it closes, on average`,
      "wins 5 points or more there",
      "elsewhere at most 1 point below",
      "best",
      "worst",
    ],
    ...body,
  ]);
}

function fullTable(rows: readonly HitRateRow[]): string {
  const head = ["trace", "entries", TITLES.lru, ...RIVALS.map((policy) => TITLES[policy]), "optimum"];
  const body = rows.map((row) => [
    row.trace,
    String(row.capacity),
    rate(row, row.hits.lru).toFixed(2),
    ...RIVALS.map((policy) => {
      const percent = rate(row, row.hits[policy]).toFixed(2);
      // Of nothing, or next to nothing, shares mean nothing.
      return gap(row) < 1 ? percent : `${percent} (${Math.round(100 * gapClosed(row, policy))} %)`;
    }),
    rate(row, row.optimum).toFixed(2),
  ]);
  return markdownTable([head, ...body]);
}

function points(value: number): string {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(1)}`;
}
