/** The guide's table of performance benefits, measured on the machine at hand: its claims beside what came out. */
import { markdownTable, textTable } from "../harness/format.ts";
import { packageVersions, type Machine } from "../harness/machine.ts";
import { Progress } from "../harness/progress.ts";
import { publish, writeResults } from "../harness/publish.ts";
import { machineText, warnings } from "../harness/report.ts";
import { measureDatabase, type DatabaseResult } from "./database.ts";
import { bestHitRate, measureDemo, measureMemory, type DemoResult, type MemoryResult } from "./demo.ts";
import { httpsVerdict, measureHttps, type HttpsResult } from "./https.ts";
import { GUIDE_LIMITS, percent, verdict } from "./latency.ts";

interface GuideReport {
  quick: boolean;
  machine: Machine;
  versions: Record<string, string>;
  database: DatabaseResult;
  https: HttpsResult;
  demo: DemoResult;
  /** The best hit rate that any cache could reach with a full run's completions, by the number of prompts. */
  hitRateCurve: { prompts: number; best: number }[];
  memory: MemoryResult;
}

const REQUESTS = 1000;
const PROMPTS = 150;
/** What a pool must take off a query's latency at least; the guide claims 60 %. */
const DATABASE_BAR = -0.9;
/** Other numbers of prompts, to show how much that choice decides. */
const CURVE = [50, PROMPTS, 500, 1500];

export async function guide(machine: Machine, { quick, write }: { quick: boolean; write: boolean }): Promise<boolean> {
  const limits = GUIDE_LIMITS[quick ? "quick" : "full"];
  const progress = new Progress();
  const versions = await packageVersions(["@vg/pool-db", "@vg/pool-http", "@vg/cache", "pg"]);
  console.error("Measuring the guide's table of performance benefits on this machine; less than a minute …");

  const database = await withDatabase((dsn) => measureDatabase(dsn, limits, progress));
  const https = await measureHttps(limits, progress);
  const demo = await measureDemo(
    quick ? { requests: 60, prompts: 20, budgetMs: 4000 } : { requests: REQUESTS, prompts: PROMPTS, budgetMs: 18_000 },
    progress,
  );
  const hitRateCurve = CURVE.map((prompts) => ({ prompts, best: bestHitRate(REQUESTS, prompts) }));
  const memory = await measureMemory(
    quick ? 15 : 100,
    quick ? { requests: 80, prompts: 100, budgetMs: 4000 } : { requests: 1000, prompts: 500, budgetMs: 8000 },
    progress,
  );

  const report: GuideReport = { quick, machine, versions, database, https, demo, hitRateCurve, memory };
  console.log(`\nThe guide's performance benefits, on this machine\n\n${textTable(rows(report))}\n`);
  for (const remark of remarks(report)) console.log(`- ${remark}`);
  console.log(`\n${machineText(report)}`);
  for (const warning of warnings(report)) console.log(`NOTE: ${warning}`);
  await writeResults("guide", report);
  if (write) await publish("guide", report, markdown(report), undefined);
  return true;
}

/** On the user's own server where there is one, else on a real one that is started for this. */
async function withDatabase<T>(use: (dsn: string) => Promise<T>): Promise<T> {
  const dsn = process.env["POSTGRES_DSN"];
  if (dsn !== undefined && dsn !== "") return await use(dsn);
  const { startEmbeddedPostgres } = await import("@vg/internal/embedded-postgres");
  const server = await startEmbeddedPostgres();
  try {
    return await use(server.dsn);
  } finally {
    await server.stop();
  }
}

function rows({ database, https, demo, memory }: GuideReport): string[][] {
  return [
    ["metric", "the guide says", "measured here", "change", "p95"],
    [
      "Database query latency",
      "-60 % (25 ms → 10 ms)",
      `${ms(database.before.p50Ms)} → ${ms(database.after.p50Ms)}`,
      percent(database.change),
      `${ms(database.before.p95Ms)} → ${ms(database.after.p95Ms)}`,
    ],
    [
      "HTTP request latency",
      "-40 % (300 ms → 180 ms)",
      `${ms(https.before.p50Ms)} → ${ms(https.after.p50Ms)}`,
      percent(https.change),
      `${ms(https.before.p95Ms)} → ${ms(https.after.p95Ms)}`,
    ],
    ["Cache hit rate", "85-90 % for common queries", `${share(demo.hitRate)} over ${demo.prompts} prompts`, "", ""],
    [
      "Completion latency, miss → hit",
      "",
      `${ms(demo.misses.p50Ms)} → ${ms(demo.hits.p50Ms)}`,
      percent(demo.hits.p50Ms / demo.misses.p50Ms - 1),
      `${ms(demo.misses.p95Ms)} → ${ms(demo.hits.p95Ms)}`,
    ],
    [
      "Memory usage",
      "controlled via LRU eviction",
      `${memory.stored} stored, never more than ${memory.peakEntries} kept: ${kib(memory.peakBytes)} at most`,
      "",
      "",
    ],
    [
      "Connection overhead",
      "eliminated via pooling",
      `HTTPS: ${https.connectionsBefore} → ${https.connectionsAfter} connections`,
      "",
      "",
    ],
  ];
}

function remarks({ database, https, demo, hitRateCurve, memory }: GuideReport): string[] {
  return [
    `Database: ${database.server}; medians of ${database.after.count} queries each way, in turns. Before: a connection for ` +
      `each query. After: @vg/pool-db, which used ${database.poolConnections}. ${verdict(database.change, DATABASE_BAR, "-60 %")}`,
    `HTTPS: a local server; medians of ${https.after.count} requests each way, in turns. Before: TCP and TLS for each ` +
      `request. After: @vg/pool-http. ${httpsVerdict(https)}`,
    `Cache: ${demo.requests} completions of the demo over ${demo.distinct} different prompts by Zipf's law. Any prompt must ` +
      `miss once, so no cache could hit more than ${share(demo.bestHitRate)} of this workload.`,
    `That hit rate follows from how many prompts this benchmark draws from (${demo.prompts}), which is its choice. The most that any ` +
      `cache could hit of ${REQUESTS} completions: ` +
      `${hitRateCurve.map(({ prompts, best }) => `${share(best)} over ${prompts} prompts`).join(", ")}.`,
    `Memory: a demo with a cache of ${memory.capacity} entries and ${memory.requests} completions over ${memory.distinct} different ` +
      `prompts. It held ${kib(memory.fullBytes)} when it was first full and ${kib(memory.endBytes)} at the end, ` +
      `${memory.evicted} evictions later, by its own estimate of its entries' sizes.`,
    "There is no network here: a new connection costs this machine's CPU time, but no round trips. Over a network, before " +
      "gets slower by two round trips or more, and all figures by one.",
  ];
}

function markdown(report: GuideReport): string {
  const list = remarks(report).map((remark) => `- ${remark}`);
  const notes = warnings(report).map((warning) => `**${warning}**`);
  return [markdownTable(rows(report)), list.join("\n"), machineText(report), ...notes].join("\n\n");
}

function ms(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 0)} ms`;
}

function share(rate: number): string {
  return `${(rate * 100).toFixed(1)} %`;
}

function kib(bytes: number): string {
  return `${(bytes / 1024).toFixed(1)} KiB`;
}
