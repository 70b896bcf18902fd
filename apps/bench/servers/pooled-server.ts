/** `pnpm bench pooled-server`: what the server costs beside a bare handler, and beside another gateway. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { barChart } from "../harness/chart.ts";
import { markdownTable, textTable } from "../harness/format.ts";
import { packageVersions, type Machine } from "../harness/machine.ts";
import { Progress } from "../harness/progress.ts";
import { publish, writeResults } from "../harness/publish.ts";
import { machineText, warnings } from "../harness/report.ts";
import { median, summarise, type Summary } from "../harness/statistics.ts";
import { messageOf } from "../harness/values.ts";
import {
  BARE,
  BARE_PROXY,
  BUFFERED_LOG,
  CACHE_HIT,
  LOGGED_HIT,
  OUR_PROXY,
  PORTKEY,
  UPSTREAM,
  WITH_LOG,
  WITHOUT_LOG,
  type Surroundings,
} from "./contenders.ts";
import type { LoadTask } from "./load-process.ts";
import { Load, RunningServer } from "./running.ts";
import { ANSWER, QUESTION } from "./work.ts";

/** What one round of load says. */
export interface Round {
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
  /** Of the server, for each request. */
  cpuMicros: number;
  /** The share of the time that the load's process was on the CPU. */
  loadBusy: number;
}

export interface Entry {
  name: string;
  /** Headers that its clients send. */
  headers?: (around: Surroundings) => Record<string, string>;
  /** The least share of the first one's requests a second that is good enough. */
  bar?: number;
  /** Why its figures don't count. */
  disqualified?: string;
  rounds: Round[];
}

interface Scenario {
  title: string;
  note: string;
  /** Whether the servers need no other process, so that the load may have a core for itself. */
  alone: boolean;
  entries: Entry[];
}

interface ServerReport {
  quick: boolean;
  machine: Machine;
  versions: Record<string, string>;
  scenarios: Scenario[];
}

interface Timing {
  launches: number;
  rounds: number;
  warmUpMs: number;
  roundMs: number;
}

const TITLE = "A server around a handler: 50 connections, 1 KiB of JSON in, 1 KiB out";
const CONNECTIONS = 50;
const QUICK: Timing = { launches: 1, rounds: 3, warmUpMs: 700, roundMs: 700 };
const FULL: Timing = { launches: 3, rounds: 4, warmUpMs: 2_000, roundMs: 3_000 };

export async function pooledServer(
  machine: Machine,
  { quick, write }: { quick: boolean; write: boolean },
): Promise<boolean> {
  const versions = await packageVersions(["@vg/pooled-server", "@vg/logging", "@vg/pool-http", PORTKEY]);
  const folder = await mkdtemp(join(tmpdir(), "vg-bench-server-"));
  const scenarios = makeScenarios();
  const progress = new Progress();
  try {
    await using upstream = await RunningServer.start({ name: UPSTREAM, folder, upstream: "" });
    await using load = new Load();
    const around = { folder, upstream: `http://127.0.0.1:${upstream.port}` };
    for (const scenario of scenarios) await measure(scenario, around, load, quick ? QUICK : FULL, progress);
  } finally {
    progress.done();
    await rm(folder, { recursive: true, force: true });
  }
  const report: ServerReport = { quick, machine, versions, scenarios };
  console.log(`\n${TITLE}\n`);
  for (const scenario of scenarios) {
    console.log(`${scenario.title}\n${textTable(rows(scenario))}\n`);
    for (const line of remarks(scenario)) console.log(`- ${line}`);
    console.log("");
  }
  console.log(machineText(report));
  for (const warning of warnings(report)) console.log(`NOTE: ${warning}`);
  const svg = chart(report);
  await writeResults("pooled-server", report, svg);
  if (write) await publish("pooled-server", report, markdown(report), svg);
  return scenarios.every(({ entries }) => entries.every(({ disqualified }) => disqualified === undefined));
}

function makeScenarios(): Scenario[] {
  return [
    {
      title: "the handler answers by itself",
      alone: true,
      note:
        "Ours has everything on: request ids and traces, contexts, metrics, rate limit, probes. Its access log writes a " +
        "line of 420 bytes for each request into a file: one write for each, or gathered (`buffer: true`). The load has a " +
        "core of its own and never sleeps, as to wake it would be counted as the server's time.",
      entries: [
        { name: BARE, rounds: [] },
        { name: WITHOUT_LOG, bar: 0.8, rounds: [] },
        { name: WITH_LOG, bar: 0.6, rounds: [] },
        { name: BUFFERED_LOG, bar: 0.6, rounds: [] },
      ],
    },
    {
      title: "an answer from the cache, beside a handler that makes its own",
      alone: true,
      note:
        "The same request as an inference: its body is parsed, its canonical key made and hashed, the stored answer found " +
        "and sent with `Cache-Status` and `Age`. Everything else is on as above.",
      entries: [
        { name: BARE, rounds: [] },
        { name: CACHE_HIT, bar: 0.6, rounds: [] },
        { name: LOGGED_HIT, rounds: [] },
      ],
    },
    {
      title: "a gateway: the body is parsed, sent to an upstream, and its answer handed on",
      alone: false,
      note:
        "Ours sends it through its HTTP pool (deadline, retries, statistics, trace headers) and writes its access log; " +
        "Portkey's gateway takes the same request with `x-portkey-custom-host`, as it comes. The upstream is the bare handler.",
      entries: [
        { name: BARE_PROXY, rounds: [] },
        { name: OUR_PROXY, rounds: [] },
        {
          name: PORTKEY,
          headers: ({ upstream }) => ({
            authorization: "Bearer none",
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": `${upstream}/v1`,
          }),
          rounds: [],
        },
      ],
    },
  ];
}

/** Rounds in turns: what disturbs the machine for a while meets everybody. */
async function measure(
  { title, alone, entries }: Scenario,
  around: Surroundings,
  load: Load,
  timing: Timing,
  progress: Progress,
): Promise<void> {
  for (let launch = 0; launch < timing.launches; launch++) {
    const running = new Map<Entry, RunningServer>();
    try {
      for (const entry of entries) {
        if (entry.disqualified !== undefined) continue;
        await trying(entry, async () => {
          const server = await RunningServer.start({ name: entry.name, ...around });
          running.set(entry, server);
          await oneRound(entry, server, around, load, { durationMs: timing.warmUpMs, awake: alone });
        });
      }
      for (let round = 0; round < timing.rounds; round++) {
        for (let turn = 0; turn < entries.length; turn++) {
          const entry = entries[(turn + round) % entries.length]!;
          const server = running.get(entry);
          if (server === undefined || entry.disqualified !== undefined) continue;
          const done = (launch + (round + turn / entries.length) / timing.rounds) / timing.launches;
          progress.show(`pooled-server: ${title}`, entry.name, done);
          await trying(entry, async () => {
            entry.rounds.push(
              await oneRound(entry, server, around, load, { durationMs: timing.roundMs, awake: alone }),
            );
          });
        }
      }
    } finally {
      for (const server of running.values()) await server[Symbol.asyncDispose]();
    }
  }
}

async function trying(entry: Entry, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    entry.disqualified = messageOf(error);
  }
}

async function oneRound(
  { headers }: Entry,
  server: RunningServer,
  around: Surroundings,
  load: Load,
  { durationMs, awake }: Pick<LoadTask, "durationMs" | "awake">,
): Promise<Round> {
  const before = await server.cpuMicros();
  const { requests, seconds, p50Ms, p99Ms, cpuMicros, failure } = await load.run({
    port: server.port,
    connections: CONNECTIONS,
    durationMs,
    path: "/v1/chat/completions",
    headers: headers?.(around) ?? {},
    body: QUESTION,
    answer: ANSWER,
    awake,
  });
  if (failure !== undefined) throw new Error(failure);
  const used = (await server.cpuMicros()) - before;
  return {
    perSecond: requests / seconds,
    p50Ms,
    p99Ms,
    cpuMicros: used / requests,
    loadBusy: cpuMicros / 1e6 / seconds,
  };
}

/** The share of `base`'s requests a second, round by round, as what disturbs the machine disturbs both. */
export function shareOf(base: Entry, entry: Entry): Summary | undefined {
  if (base.disqualified !== undefined || entry.disqualified !== undefined) return undefined;
  return summarise(entry.rounds.map(({ perSecond }, round) => perSecond / base.rounds[round]!.perSecond));
}

function rows({ entries, alone }: Scenario): string[][] {
  const base = entries[0]!;
  return [
    ["", "requests/s", "min..max", "of the first", "min..max", "p50", "p99", "CPU/request", "load busy"],
    ...entries.map((entry) => {
      const { name, rounds, disqualified } = entry;
      if (disqualified !== undefined) return [name, "disqualified"];
      const all = summarise(rounds.map(({ perSecond }) => perSecond));
      const share = entry === base ? undefined : shareOf(base, entry);
      const middle = (of: (round: Round) => number): number => median(rounds.map(of));
      return [
        name,
        count(all.median),
        `${count(all.min)}..${count(all.max)}`,
        share === undefined ? "" : percent(share.median),
        share === undefined ? "" : `${percent(share.min)}..${percent(share.max)}`,
        `${middle(({ p50Ms }) => p50Ms).toFixed(2)} ms`,
        `${middle(({ p99Ms }) => p99Ms).toFixed(2)} ms`,
        `${middle(({ cpuMicros }) => cpuMicros).toFixed(1)} µs`,
        alone ? "awake" : percent(middle(({ loadBusy }) => loadBusy)),
      ];
    }),
  ];
}

export function remarks({ entries, note }: Pick<Scenario, "entries" | "note">): string[] {
  const base = entries[0]!;
  return [
    note,
    ...entries.flatMap(({ name, disqualified }) =>
      disqualified === undefined ? [] : [`DISQUALIFIED ${name}: ${disqualified}`],
    ),
    ...entries.flatMap((entry) => {
      const share = shareOf(base, entry);
      if (entry.bar === undefined || share === undefined) return [];
      const lost = `${percent(1 - share.median)} of the requests/s lost`;
      const met = share.median >= entry.bar ? "met" : "missed";
      return [`The bar for ${entry.name}: at most ${percent(1 - entry.bar)} lost: ${met}, with ${lost}.`];
    }),
  ];
}

function chart({ scenarios }: ServerReport): string {
  const groups = scenarios.map(({ title, entries }) => ({
    title: `Requests a second: ${title}`,
    bars: entries.flatMap(({ name, disqualified, rounds }) => {
      if (disqualified !== undefined) return [];
      const value = summarise(rounds.map(({ perSecond }) => perSecond));
      return [{ label: name, value, text: count(value.median), ours: name.startsWith("@vg/") }];
    }),
  }));
  return barChart(TITLE, "More is better. The line goes from the least round to the greatest.", groups);
}

function markdown(report: ServerReport): string {
  return [
    `![${TITLE}](published/pooled-server.svg)`,
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

function count(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

function percent(share: number): string {
  return `${(share * 100).toFixed(0)} %`;
}
