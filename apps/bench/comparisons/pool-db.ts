import { expectAnswer, type Case, type Comparison, type Environment } from "../harness/comparison.ts";
import type { Answer } from "../harness/contender.ts";
import { ITEMS, SCHEMA, violationsIn } from "./pool-db-workload.ts";

const MAX = 10;
const CONTENDERS = [
  { name: "@vg/pool-db", library: "@vg/pool-db" },
  { name: "pg.Pool", library: "pg" },
  { name: "@vg/pool-db (named statements)", library: "@vg/pool-db" },
  { name: "pg.Pool (named statements)", library: "pg", against: "@vg/pool-db (named statements)" },
];

function check(mix: boolean) {
  return (answer: Answer, operations: number): string | undefined => {
    const violations = mix ? violationsIn(operations) : 0;
    return expectAnswer(answer, { rows: operations - violations, violations, wrong: 0 });
  };
}

function select(concurrency: number, title: string, mix = false): Case {
  return {
    name: `${mix ? "violations" : "select"}-${concurrency}`,
    title,
    parameters: { concurrency, mix, max: MAX },
    contenders: CONTENDERS,
    batch: 200,
    check: check(mix),
  };
}

/** A PostgreSQL server of its own, with a table of items. */
async function start(): Promise<Environment> {
  const [{ startEmbeddedPostgres }, { default: pg }] = await Promise.all([
    import("@vg/internal/embedded-postgres"),
    import("pg"),
  ]);
  console.error("Starting PostgreSQL …");
  const server = await startEmbeddedPostgres();
  const client = new pg.Client(server.dsn);
  try {
    await client.connect();
    await client.query(SCHEMA);
    const { rows } = await client.query<{ version: string }>("SELECT current_setting('server_version') AS version");
    const versions = { PostgreSQL: rows[0]?.version ?? "unknown" };
    return { parameters: { dsn: server.dsn }, versions, stop: () => server.stop() };
  } catch (error) {
    await server.stop();
    throw error;
  } finally {
    await client.end();
  }
}

export const comparison: Comparison = {
  name: "pool-db",
  title: `PostgreSQL pool: one row of ${ITEMS} by its key, ${MAX} connections`,
  packages: ["@vg/pool-db"],
  module: new URL("./pool-db-contenders.ts", import.meta.url),
  start,
  cases: [
    select(MAX, `${MAX} callers at a time, as many as connections`),
    select(4 * MAX, `${4 * MAX} callers at a time, four for each connection`),
    select(MAX, `${MAX} callers at a time, 1 % of the queries violate a unique key`, true),
  ],
};
