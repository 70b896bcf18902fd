/**
 * Ten minutes (or as many as the first argument says) of mixed load on two pools, one that pipelines and one that does not,
 * while connections are cut, swallowed, slowed down and terminated at random and the server crashes and restarts. At the
 * end nothing is lost: every call was answered, and the rows on the server are those that were acknowledged. Nothing is
 * leaked: no connection, no socket, no timer, no listener. And the heap is flat.
 */
import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { startEmbeddedPostgres } from "@vg/internal/embedded-postgres";
import pg from "pg";
import { DbPool } from "../src/index.ts";
import { FaultProxy } from "../test/fault-proxy.ts";
import { DISTURBANCES } from "./soak/disturbances.ts";
import { Heap } from "./soak/heap.ts";
import { Ledger } from "./soak/ledger.ts";
import { WORK, expected, type Shop } from "./soak/work.ts";

const MINUTES = Number(process.argv[2] ?? 10);
const CALLERS = 16;
/** Of each so many milliseconds the last part is quiet: connections age, are checked and trimmed. */
const PERIOD_MS = 20_000;
const QUIET_MS = 2_000;
const HEAP_SLACK_BYTES = 3_000_000;
/** The longest that a call may take here: a wait for a connection, and what the disturbances hold up. */
const ANSWERED_WITHIN_MS = 30_000;

const startedAt = performance.now();
const elapsedMs = (): number => performance.now() - startedAt;
const endMs = MINUTES * 60_000;
const seed = Date.now() % 2_147_483_647;
console.log(`${MINUTES} minutes, seed ${seed}`);

let state = seed;
/** D. Lehmer's generator (Park and Miller). */
function random(): number {
  state = (state * 16_807) % 2_147_483_647;
  return state / 2_147_483_647;
}

// ---- The server, the proxy and the pools ---------------------------------------------------------------------------------

const server = await startEmbeddedPostgres({ settings: { client_connection_check_interval: "100ms" } });

async function ask(text: string): Promise<pg.QueryResult> {
  const client = new pg.Client(server.dsn);
  client.on("error", () => undefined);
  await client.connect();
  try {
    return await client.query(text);
  } finally {
    await client.end();
  }
}

await ask(`
  create table soak (id bigint primary key, pair bigint not null);
  create table soak_items (id int primary key, value int not null);
  insert into soak_items select n, n * 7 from generate_series(1, 1000) as n;
`);
const resourcesBefore = process.getActiveResourcesInfo().toSorted();
const proxy = new FaultProxy(server);
await proxy.listen();

const open = (name: string, pipeline: boolean): DbPool =>
  new DbPool({
    name,
    host: "127.0.0.1",
    port: proxy.port,
    user: server.user,
    password: server.password,
    database: "postgres",
    application_name: name,
    maxOpenConns: 8,
    maxIdleConns: 4,
    connMaxLifetimeMs: 5_000,
    connMaxIdleTimeMs: 1_000,
    maxIdleTrimDelayMs: 500,
    acquireTimeoutMs: 5_000,
    connectTimeoutMs: 1_000,
    validateAfterIdleMs: 100,
    resetTimeoutMs: 1_000,
    pipeline,
  });
const pools = [open("soak-single", false), open("soak-piped", true)];

// ---- The load --------------------------------------------------------------------------------------------------------------

const ledger = new Ledger();
const shopSignal = new AbortController();
const chances = Object.entries(WORK).flatMap(([name, { weight }]) => Array.from({ length: weight }, () => name));
const answers = new Map<string, number>();
const underWay = new Map<number, { what: string; since: number }>();
let calls = 0;
let longestMs = 0;

async function caller(pool: DbPool): Promise<void> {
  const shop: Shop = { pool, ledger, random, signal: shopSignal.signal };
  while (elapsedMs() < endMs) {
    const name = chances[Math.floor(random() * chances.length)] as string;
    const untilQuietMs = PERIOD_MS - QUIET_MS - (elapsedMs() % PERIOD_MS);
    if (untilQuietMs < 0) await delay(QUIET_MS * random());
    const since = performance.now();
    const id = calls++;
    underWay.set(id, { what: `${name} (${pool.name})`, since });
    let answer = "done";
    try {
      await WORK[name]?.run(shop);
    } catch (error) {
      answer = expected(error);
    }
    underWay.delete(id);
    longestMs = Math.max(longestMs, performance.now() - since);
    answers.set(answer, (answers.get(answer) ?? 0) + 1);
  }
}

const disturbed = new Map<string, number>();

async function disturb(): Promise<void> {
  const names = Object.keys(DISTURBANCES);
  while (elapsedMs() < endMs) {
    await delay(random() * 3_000);
    const name = names[Math.floor(random() * names.length)] as string;
    // A server that is down right now cannot be asked to do anything.
    await DISTURBANCES[name]?.({ proxy, pools, random, ask }).catch(() => undefined);
    disturbed.set(name, (disturbed.get(name) ?? 0) + 1);
  }
}

async function restart(): Promise<void> {
  for (const [part, signal] of [
    [1 / 3, "SIGKILL"],
    [2 / 3, "SIGINT"],
  ] as const) {
    await delay(Math.max(0, part * endMs - elapsedMs()));
    server.signal(signal);
    await server.exited();
    await delay(500);
    await server.restart();
    disturbed.set(`the server ended by ${signal} and restarted`, 1);
  }
}

const heap = new Heap();

async function watch(): Promise<void> {
  const everyMs = Math.min(10_000, endMs / 40);
  for (let n = 1; elapsedMs() < endMs; n++) {
    await delay(everyMs, undefined, { ref: false });
    for (const { what, since } of underWay.values()) {
      assert.ok(performance.now() - since < ANSWERED_WITHIN_MS, `${what} has not been answered`);
    }
    const bytes = heap.sample();
    if (n % 3 !== 0) continue;
    const seconds = Math.round(elapsedMs() / 1_000);
    const figures = pools.map((pool) => {
      const { open_connections, in_use, pending } = pool.getStats();
      return `${pool.name} open ${open_connections}, in_use ${in_use}, pending ${pending}`;
    });
    console.log(`${seconds} s: ${calls} calls, heap ${(bytes / 1e6).toFixed(1)} MB; ${figures.join("; ")}`);
  }
}

await Promise.all([
  ...pools.flatMap((pool) => Array.from({ length: CALLERS }, () => caller(pool))),
  disturb(),
  restart(),
  watch(),
]);

// ---- The books -------------------------------------------------------------------------------------------------------------

const list = (counts: ReadonlyMap<string, number>): string =>
  [...counts].map(([what, count]) => `${count} ${what}`).join(", ");
console.log(`${calls} calls, all answered (the longest took ${Math.round(longestMs)} ms): ${list(answers)}`);
console.log(`Meanwhile: ${list(disturbed)}`);
assert.equal(underWay.size, 0);

proxy.heal();
await eventually("everything has come back", () => pools.every((pool) => isQuiet(pool)));
for (const pool of pools) {
  const stats = pool.getStats();
  assert.deepEqual([stats.in_use, stats.open_connections], [0, stats.idle]);
  assert.equal(stats.acquire_count, stats.release_count);
  await eventually(`the server knows the connections of ${pool.name} and no others`, async () => {
    const { rows } = await ask(`select 1 from pg_stat_activity where application_name = '${pool.name}'`);
    return rows.length === pool.getStats().open_connections;
  });
  console.log(pool.name, JSON.stringify(stats));
}
const reader = new pg.Client(server.dsn);
await reader.connect();
console.log(await ledger.check(reader));
await reader.end();

assert.deepEqual(getEventListeners(shopSignal.signal, "abort"), [], "listeners left on a signal");
const growth = heap.growth();
console.log(`The heap has grown by ${Math.round(growth / 1_000)} kB since it was warm`);

for (const pool of pools) assert.equal((await pool.close()).drained, true);
const { rows: left } = await ask("select 1 from pg_stat_activity where application_name like 'soak-%'");
assert.deepEqual(left, []);
await eventually("the sockets are closed", () => proxy.links.size === 0);
proxy.close();
await eventually("no timer, socket or request is left", () => {
  const resources = process.getActiveResourcesInfo().toSorted();
  // The one that is being waited with.
  resources.splice(resources.indexOf("Timeout"), 1);
  return resources.join() === resourcesBefore.join();
});
assert.ok(growth < HEAP_SLACK_BYTES, `the heap grew by ${growth} bytes`);
await server.stop();

function isQuiet(pool: DbPool): boolean {
  const { in_use, pending, connecting } = pool.getStats();
  return in_use === 0 && pending === 0 && connecting === 0;
}

async function eventually(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 10_000;
  while (!(await condition())) {
    if (performance.now() > end) {
      throw new Error(`never happened: ${what} (${process.getActiveResourcesInfo().join(", ")})`);
    }
    await delay(20);
  }
}
