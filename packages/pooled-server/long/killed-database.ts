/**
 * PostgreSQL is killed with SIGKILL under load and started again, over and over: only requests that need it fail, and they
 * are told so in time; health and readiness say so, with the reason; and without a restart everything works again soon
 * after the database does.
 */
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { startEmbeddedPostgres } from "@vg/internal/embedded-postgres";
import { createPooledServer } from "../src/index.ts";
import { Load } from "./support/load.ts";

const KILLS = Number(process.argv[2] ?? 10);
const CLIENTS = 20;
const DOWN_MS = 1_500;
const UP_MS = 2_000;
const INTERVAL_MS = 500;
const ACQUIRE_TIMEOUT_MS = 1_000;
/** One interval and its jitter, the check itself, which fails at once where nobody listens, and a busy machine. */
const SAID_WITHIN_MS = 3 * INTERVAL_MS;
/** After PostgreSQL accepts connections again. */
const READY_WITHIN_MS = 3 * INTERVAL_MS;
/** A request that needs the database is answered by then, whatever has become of it. */
const ANSWERED_WITHIN_MS = ACQUIRE_TIMEOUT_MS + 1_000;

const postgres = await startEmbeddedPostgres();
const server = await createPooledServer(
  async (request, response) => {
    if (request.url === "/plain") {
      response.end("plain");
      return;
    }
    try {
      const row = await server.dbPool?.queryRow<{ one: number }>("select 1 as one");
      response.end(`row ${row?.one}`);
    } catch (error) {
      response.writeHead(503, { "retry-after": "1" }).end((error as { code?: string }).code);
    }
  },
  {
    logLevel: "silent",
    postgresDsn: postgres.dsn,
    dbMaxOpenConns: 10,
    dbCritical: true,
    dbPool: { acquireTimeoutMs: ACQUIRE_TIMEOUT_MS },
    healthIntervalMs: INTERVAL_MS,
    rateLimitPerSecond: 0,
  },
);
const { url } = await server.listen(0);

let up = true;
const plain = { requests: 0, failed: 0 };
const database = { answered: 0, refused: 0, refusedWhileUp: 0 };
const wrong: string[] = [];
const plainLoad = new Load();
plainLoad.start(
  CLIENTS,
  `${url}/plain`,
  ({ status, text }) => {
    plain.requests++;
    if (status !== 200 || text !== "plain") plain.failed++;
  },
  10,
);
const databaseLoad = new Load();
databaseLoad.start(
  CLIENTS,
  `${url}/row`,
  ({ status, text }) => {
    if (status === 200 && text === "row 1") database.answered++;
    else if (status === 503) {
      database.refused++;
      if (up) database.refusedWhileUp++;
    } else wrong.push(`${status} ${text}`);
  },
  10,
);

async function statusOf(path: string): Promise<number> {
  const response = await fetch(`${url}${path}`);
  await response.text();
  return response.status;
}

async function until(path: string, wanted: number): Promise<number> {
  const since = performance.now();
  while ((await statusOf(path)) !== wanted) await delay(10);
  return performance.now() - since;
}

const saidMs: number[] = [];
const readyMs: number[] = [];
for (let kill = 0; kill < KILLS; kill++) {
  await delay(UP_MS);
  up = false;
  postgres.signal("SIGKILL");
  await postgres.exited();
  saidMs.push(await until("/readyz", 503));
  const health = (await (await fetch(`${url}/v2/health`)).json()) as { status: string; checks: { database: object } };
  assert.equal(health.status, "degraded");
  assert.match(JSON.stringify(health.checks.database), /"status":"fail".*"output":"[^"]+"/);
  assert.doesNotMatch(JSON.stringify(health), new RegExp(postgres.password));
  assert.equal(await statusOf("/livez"), 200);
  await delay(DOWN_MS);
  await postgres.restart();
  readyMs.push(await until("/readyz", 200));
  // Who had asked before may still be told so.
  await delay(ACQUIRE_TIMEOUT_MS);
  up = true;
}
await delay(UP_MS);
await Promise.all([plainLoad.end(), databaseLoad.end()]);
const { db_pool: pool } = server.getPoolStats();
const report = await server.close();
await postgres.stop();

const most = (values: readonly number[]): string => Math.max(...values).toFixed(0);
console.log(
  `${KILLS} kills: ${plain.requests} requests without the database, ${plain.failed} failed (p99 ${plainLoad.latencyMs.percentile(0.99).toFixed(1)} ms); ` +
    `${database.answered} with it answered, ${database.refused} refused while it was down, the longest took ${databaseLoad.latencyMs.max.toFixed(0)} ms; ` +
    `said so within ${most(saidMs)} ms, ready ${most(readyMs)} ms after the database`,
);
assert.equal(plain.failed, 0, "requests that do not need the database do not fail");
assert.equal(database.refusedWhileUp, 0, "none is refused while the database is up");
assert.deepEqual(wrong, []);
assert.ok(database.refused > 0, "the database was missed");
assert.ok(databaseLoad.latencyMs.max < ANSWERED_WITHIN_MS, "everybody is answered in time");
assert.ok(Math.max(...saidMs) < SAID_WITHIN_MS, "health says so in time");
assert.ok(Math.max(...readyMs) < READY_WITHIN_MS, "the server is ready in time");
assert.equal(pool?.["in_use"], 0, "no connection is leaked");
assert.deepEqual(report.stuck, []);
