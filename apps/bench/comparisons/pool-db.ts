import {
  expectAnswer,
  type Case,
  type Comparison,
  type ContenderSpec,
  type Environment,
} from "../harness/comparison.ts";
import { textField } from "../harness/values.ts";
import { startDatabase } from "./database-server.ts";
import { measurePgbench } from "./pgbench.ts";
import { PAGE, violationsIn, WORKS, type Work } from "./pool-db-workload.ts";

const CALLERS = [1, 25, 64, 256];
/** What a quick run shows of each work. */
const QUICK_CALLERS = { plain: 25, pipelined: 64 };
const MAX = 25;
const FEW = 4;
/** At most half of pg.Pool's CPU time, where the server is the limit. */
const CPU_BAR = 2;

interface Setting {
  readonly name: keyof typeof QUICK_CALLERS;
  readonly title: string;
  readonly ours: ContenderSpec;
  readonly rivals: (work: Work, callers: number) => readonly ContenderSpec[];
}

const SETTINGS: readonly Setting[] = [
  {
    name: "plain",
    title: `Pipelining off, ${MAX} connections each`,
    ours: { name: "@vg/pool-db", library: "@vg/pool-db" },
    rivals: (work, callers) => {
      const bars = work === "point select" && callers === MAX ? { unnamed: 1.3, named: 1 } : {};
      const bar = work === "1 % violations" ? 3 : bars.unnamed;
      return [
        { name: "pg.Pool", library: "pg", ...barsOf(bar, CPU_BAR) },
        { name: "pg.Pool (named)", library: "pg", ...barsOf(bars.named) },
      ];
    },
  },
  {
    name: "pipelined",
    title: `Pipelined over ${FEW} connections; beside, pg.Pool with ${MAX}`,
    ours: { name: "@vg/pool-db", library: "@vg/pool-db", creates: "@vg/pool-db pipelined" },
    rivals: (work, callers) => {
      const bars = work === "point select" && callers >= 64 ? { postgres: 1.15, pg: 4 } : {};
      const bar = work === "1 % violations" ? 3 : bars.pg;
      return [
        { name: "postgres.js", library: "postgres", ...barsOf(bars.postgres) },
        {
          name: `pg.Pool (${MAX} connections)`,
          library: "pg",
          creates: "pg.Pool",
          parameters: { connections: MAX },
          ...barsOf(bar, CPU_BAR),
        },
      ];
    },
  },
];

function barsOf(bar?: number, cpuBar?: number): Pick<ContenderSpec, "bar" | "cpuBar"> {
  return { ...(bar !== undefined && { bar }), ...(cpuBar !== undefined && { cpuBar }) };
}

function makeCase({ name, title, ours, rivals }: Setting, work: Work, callers: number): Case {
  return {
    name: `${name}-${work.replaceAll(/\W+/g, "-")}-${callers}`,
    title: `${work}, ${callers} ${callers === 1 ? "caller" : "callers"}`,
    setting: title,
    fullOnly: callers !== QUICK_CALLERS[name],
    parameters: { work, callers, connections: name === "plain" ? MAX : FEW },
    server: { callers },
    contenders: [ours, ...rivals(work, callers)],
    // Some hundreds, so that the start and the end of a round, with fewer callers, are a small part of it.
    batch: callers > 100 ? 600 : 200,
    check: (answer, operations) => expectAnswer(answer, expected(work, operations)),
  };
}

function expected(work: Work, operations: number): Record<string, number> {
  const violations = work === "1 % violations" ? violationsIn(operations) : 0;
  const rows = work === "100 rows" ? PAGE * operations : operations - violations;
  const left = work === "insert" ? { stored: operations, right: operations } : {};
  return { rows, violations, wrong: 0, ...left };
}

async function start(): Promise<Environment> {
  const { dsn, versions, stop } = await startDatabase();
  return { parameters: { dsn }, versions, stop };
}

export const comparison: Comparison = {
  name: "pool-db",
  title: "PostgreSQL pool: the same queries on the same server",
  packages: ["@vg/pool-db"],
  module: new URL("./pool-db-contenders.ts", import.meta.url),
  start,
  // A client of a server does a few thousand operations a second while it is cold, and V8 takes its time with them.
  warmUpMs: 1_500,
  budgetMs: { full: 900_000, quick: 16_000 },
  cases: SETTINGS.flatMap((setting) =>
    WORKS.flatMap((work) => CALLERS.map((callers) => makeCase(setting, work, callers))),
  ),
  yardstick: (environment, quick) =>
    measurePgbench({
      dsn: textField(environment?.parameters, "dsn"),
      rounds: quick ? 1 : 3,
      secondsEach: quick ? 1 : 3,
    }),
};
