/**
 * node --conditions=@vg/source apps/bench/hit-rate/hit-rate.ts [--write]
 *
 * What each eviction policy of @vg/cache hits on real traces, beside exact LRU and what no policy can beat. The traces lie
 * beside the project, in ../shared/traces.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { POLICY_NAMES, type PolicyName } from "../../../packages/cache/src/policy/make-policy.ts";
import { EXACT_LRU_HITS, readTrace, TRACES_MISSING } from "../../../packages/cache/test/traces.ts";
import { textTable } from "../harness/format.ts";
import { replaceSection } from "../harness/publish.ts";
import { hitRateChart } from "./hit-rate-chart.ts";
import { gap, gapClosed, hitRateMarkdown, rate, TITLES, WIDE_GAP, type HitRateRow } from "./hit-rate-report.ts";
import { optimalHits } from "./optimum.ts";
import { hitsOf, numbered } from "./replay.ts";

const PUBLISHED = new URL("../published/", import.meta.url);
const README = new URL("../../../packages/cache/README.md", import.meta.url);

/** As a reader of packages/cache/README.md finds it. */
const CHART = "../../apps/bench/published/cache-hit-rate.svg";

function measure(): HitRateRow[] {
  const rows: HitRateRow[] = [];
  for (const [name, lru] of Object.entries(EXACT_LRU_HITS)) {
    const trace = numbered(readTrace(name));
    for (const [size, exact] of Object.entries(lru)) {
      const capacity = Number(size);
      const hits = Object.fromEntries(POLICY_NAMES.map((policy) => [policy, hitsOf(policy, trace, capacity)]));
      if (hits["lru"] !== exact) throw new Error(`LRU hits ${hits["lru"]} times on ${name} ${size}, not ${exact}`);
      rows.push({
        trace: name.replace("lirs_", "").replace("arc_", ""),
        events: trace.accesses.length,
        capacity,
        hits: hits as Record<PolicyName, number>,
        optimum: optimalHits(trace.accesses, capacity),
      });
    }
  }
  return rows;
}

function text(rows: readonly HitRateRow[]): string {
  const head = ["trace", "entries", ...POLICY_NAMES.map((policy) => TITLES[policy]), "optimum", "W-TinyLFU closes"];
  const body = rows.map((row) => [
    row.trace,
    String(row.capacity),
    ...POLICY_NAMES.map((policy) => rate(row, row.hits[policy]).toFixed(2)),
    rate(row, row.optimum).toFixed(2),
    gap(row) < 1 ? "" : `${Math.round(100 * gapClosed(row, "tinylfu"))} %`,
  ]);
  return textTable([head, ...body]);
}

/** Where W-TinyLFU wins less than 5 points though there is a wide gap, or loses more than 1 where there is none. */
function shortfalls(rows: readonly HitRateRow[]): string[] {
  return rows.flatMap((row) => {
    const lead = rate(row, row.hits.tinylfu - row.hits.lru);
    const missing = (gap(row) >= WIDE_GAP ? 5 : -1) - lead;
    return missing <= 0 ? [] : [`${row.trace} ${row.capacity}: ${lead.toFixed(2)}, ${missing.toFixed(2)} short`];
  });
}

async function publishHitRates(rows: readonly HitRateRow[]): Promise<void> {
  await mkdir(PUBLISHED, { recursive: true });
  await writeFile(new URL("cache-hit-rate.json", PUBLISHED), `${JSON.stringify({ rows }, undefined, 2)}\n`);
  await writeFile(new URL("cache-hit-rate.svg", PUBLISHED), hitRateChart(rows));
  const readme = await readFile(README, "utf8");
  await writeFile(README, replaceSection(readme, "cache-hit-rate", hitRateMarkdown(rows, CHART)));
}

const { values } = parseArgs({ options: { write: { type: "boolean", default: false } } });
if (TRACES_MISSING) {
  console.error("There are no traces: ../shared/traces is not there. Nothing was measured.");
  process.exitCode = 1;
} else {
  const rows = measure();
  console.log(text(rows));
  console.log("\nPoints that W-TinyLFU is above LRU where it misses its mark (5 of a gap of 10, else -1):");
  console.log(shortfalls(rows).join("\n"));
  if (values.write) await publishHitRates(rows);
}
