/** PostgreSQL's own load generator, where there is one: the same statement on the same server, with no client of ours or theirs. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { capture } from "../../../scripts/lib/run.ts";
import type { Yardstick } from "../harness/comparison.ts";
import { summarise } from "../harness/statistics.ts";
import { ITEMS, SELECT_ITEM } from "./pool-db-workload.ts";

/** Selects between two Syncs of the pipelined script. */
const DEPTH = 8;
const TITLE = "pgbench on the same server: point select, `-M prepared -j 1`";

interface Run {
  readonly name: string;
  readonly clients: number;
  /** Selects in one run of the script. */
  readonly selects: number;
}

const RUNS: readonly Run[] = [
  { name: "4 clients", clients: 4, selects: 1 },
  { name: "25 clients", clients: 25, selects: 1 },
  { name: `4 clients, ${DEPTH} selects a round trip`, clients: 4, selects: DEPTH },
];

export interface PgbenchSettings {
  readonly dsn: string;
  readonly rounds: number;
  readonly secondsEach: number;
}

export async function measurePgbench({ dsn, rounds, secondsEach }: PgbenchSettings): Promise<Yardstick> {
  const version = await pgbenchVersion();
  if (version === undefined) {
    return { title: TITLE, note: "Not available: there is no pgbench on the PATH of this machine.", rows: [] };
  }
  const folder = await mkdtemp(join(tmpdir(), "vg-bench-"));
  try {
    const script = async ({ selects }: Run): Promise<string> => {
      const file = join(folder, `${selects}.sql`);
      await writeFile(file, pgbenchScript(selects));
      return file;
    };
    const ns = new Map<Run, number[]>(RUNS.map((run) => [run, []]));
    for (let round = 0; round < rounds; round++) {
      for (const run of RUNS) {
        ns.get(run)!.push(await pgbench(await script(run), run, dsn, secondsEach));
      }
    }
    return {
      title: TITLE,
      note:
        `pgbench ${version}; ${rounds} × ${secondsEach} s each. It does not look at the answers, and its pipeline has ` +
        "one Sync for all, so one transaction, where the pools have one for each query.",
      rows: RUNS.map((run) => ({ name: run.name, nsPerOp: summarise(ns.get(run)!) })),
    };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Of what is on the PATH; undefined where nothing is. */
async function pgbenchVersion(): Promise<string | undefined> {
  const text = await capture("pgbench", ["--version"]).catch(() => undefined);
  return text === undefined ? undefined : (/\d+(\.\d+)*/.exec(text)?.[0] ?? "of an unknown version");
}

/** Returns nanoseconds a select. */
async function pgbench(script: string, { clients, selects }: Run, dsn: string, seconds: number): Promise<number> {
  const { hostname, port, username, password, pathname } = new URL(dsn);
  const output = await capture(
    "pgbench",
    // No vacuum of pgbench's own tables, which there are not.
    ["-n", "-M", "prepared", "-f", script, "-c", `${clients}`, "-j", "1", "-T", `${seconds}`, pathname.slice(1)],
    {
      env: {
        ...process.env,
        PGHOST: hostname,
        PGPORT: port,
        PGUSER: decodeURIComponent(username),
        PGPASSWORD: decodeURIComponent(password),
      },
      timeoutMs: (seconds + 30) * 1000,
    },
  );
  return 1e9 / (transactionsPerSecond(output) * selects);
}

/** The point select with a random key, or several of them in a pipeline. */
export function pgbenchScript(selects: number): string {
  const keys = Array.from({ length: selects }, (_, i) => `\\set id${i} random(0, ${ITEMS - 1})\n`);
  const statements = keys.map((_, i) => `${SELECT_ITEM.text.replace("$1", `:id${i}`)};\n`);
  const body = selects === 1 ? statements : ["\\startpipeline\n", ...statements, "\\endpipeline\n"];
  return [...keys, ...body].join("");
}

/** @throws when pgbench has printed no such figure, or says that transactions failed */
export function transactionsPerSecond(output: string): number {
  const tps = Number(/^tps = ([\d.]+)/m.exec(output)?.[1]);
  const failed = /^number of failed transactions: ([1-9]\d*)/m.exec(output)?.[1];
  if (failed !== undefined || !(tps > 0)) throw new Error(`pgbench did not do its work:\n${output}`);
  return tps;
}
