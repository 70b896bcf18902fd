/**
 * What the pool is for, with the oldest pg that is supported, with some since, and with the newest: each is installed into a
 * folder elsewhere, beside the pool as it is published. It needs the network, so it lives here and not among the tests.
 */
import assert from "node:assert/strict";
import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath, pathToFileURL } from "node:url";
import { startEmbeddedPostgres } from "@vg/internal/embedded-postgres";
import type pg from "pg";
import { capture } from "../../../scripts/lib/run.ts";
import { temporaryFolder } from "../../../scripts/lib/temporary-folder.ts";
import { npmEnvironment, toolEnvironment } from "../../../scripts/lib/tools.ts";
import type * as PoolDb from "../src/index.ts";
import { ERRORS, READS, WRITES, compare, makeThings } from "../test/answers.ts";

const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
/** 8.21 is the first that keeps the state of the transaction, 8.23 the first with a pipeline mode. */
const VERSIONS = ["8.16.0", "8.16", "8.18", "8.20", "8.21", "8"];

/** Older ones lose a column of this name. */
const EVERYWHERE = READS.filter(([text]) => !text.includes("__proto__"));

const server = await startEmbeddedPostgres();
// It goes with this process.
const folder = await temporaryFolder("pg-versions");
const built = join(folder.path, "built");
await capture("tsup", ["src/index.ts", "--out-dir", built], { cwd: PACKAGE, env: await toolEnvironment() });
try {
  for (const version of VERSIONS) await check(version);
} finally {
  await server.stop();
}

/** The pool, and the pg that it finds. */
interface Installed {
  readonly poolDb: typeof PoolDb;
  readonly pgModule: typeof pg;
}

async function check(wanted: string): Promise<void> {
  const cwd = join(folder.path, `pg-${wanted}`);
  await mkdir(cwd);
  await writeFile(join(cwd, "package.json"), JSON.stringify({ private: true, type: "module" }));
  const install = ["install", "--silent", "--ignore-scripts", "--prefer-offline"];
  await capture("npm", [...install, `pg@${wanted}`], { cwd, env: npmEnvironment() });
  await cp(built, join(cwd, "built"), { recursive: true });
  const poolDb = (await import(pathToFileURL(join(cwd, "built", "index.js")).href)) as typeof PoolDb;
  const require = createRequire(join(cwd, "package.json"));
  const installed = { poolDb, pgModule: require("pg") as typeof pg };
  const manifest = await readFile(join(cwd, "node_modules", "pg", "package.json"), "utf8");
  const { version } = JSON.parse(manifest) as { version: string };
  for (const part of [answers, statements, batches, clients, faults, pipelining]) {
    try {
      await part(installed);
    } catch (error) {
      throw new Error(`pg ${version}: ${part.name} went wrong`, { cause: error });
    }
  }
  await nobodyIsLeft(installed);
  console.log(`pg ${version}: all is well`);
}

/** A server process takes a moment to see that its client has gone. */
async function nobodyIsLeft(installed: Installed): Promise<void> {
  const others =
    "select state, query from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()";
  let rows: unknown[] = [];
  for (const end = performance.now() + 5_000; performance.now() < end; await delay(20)) {
    ({ rows } = await query(installed, others));
    if (rows.length === 0) return;
  }
  assert.deepEqual(rows, [], "connections were left behind");
}

async function query({ pgModule }: Installed, text: string): Promise<pg.QueryResult> {
  const client = new pgModule.Client(server.dsn);
  await client.connect();
  try {
    return await client.query(text);
  } finally {
    await client.end();
  }
}

function open({ poolDb }: Installed, options: PoolDb.DbPoolOptions = {}): PoolDb.DbPool {
  return new poolDb.DbPool({ dsn: server.dsn, maxOpenConns: 1, ...options });
}

/** Rows, fields, counts and errors are the ones of this pg's own client; and it was the wire that read them. */
async function answers(installed: Installed): Promise<void> {
  await makeThings((text) => query(installed, text));
  await using cleanup = new AsyncDisposableStack();
  const pool = cleanup.use(open(installed));
  const theirs = new installed.pgModule.Client(server.dsn);
  cleanup.defer(() => theirs.end());
  await theirs.connect();
  const conn = cleanup.use(await pool.acquire());
  await compare(conn, theirs, [...EVERYWHERE, ...WRITES, ...ERRORS]);
  await compare(conn, theirs, [...EVERYWHERE, ...WRITES], { rowMode: "array" }, (index) => `name ${index}`);
  const { rows } = await conn.query("select count(*)::int as n from pg_prepared_statements where name like 'vg%'");
  assert.ok((rows[0] as { n: number }).n > 20, "the wire has prepared nothing");
}

/** What was prepared heals. */
async function statements(installed: Installed): Promise<void> {
  await using pool = open(installed);
  const named = { name: "named", text: "select * from things" };
  const read = async (): Promise<unknown[]> => {
    const texts = [await pool.query(named.text), await pool.query(named)];
    return texts.map(({ fields }) => fields.length);
  };
  for (let round = 0; round < 4; round++) assert.deepEqual(await read(), [2, 2]);
  await query(installed, "alter table things add column extra int");
  assert.deepEqual(await read(), [3, 3]);
  await pool.query("discard all");
  assert.deepEqual(await read(), [3, 3]);
  const circular: { self?: unknown } = {};
  circular.self = circular;
  for (const value of [circular, "abc"]) {
    for (let round = 0; round < 4; round++) await assert.rejects(pool.query("select $1::int as n", [value]));
    assert.deepEqual(await pool.queryRow("select $1::int as n", [5]), { n: 5 });
  }
  assert.equal(pool.getStats().create_count, 1);
}

async function batches(installed: Installed): Promise<void> {
  await using pool = open(installed);
  await pool.exec("create temporary table batched (n int primary key)");
  const insert = (n: number): PoolDb.BatchItem => ["insert into batched values ($1)", [n]];
  await assert.rejects(pool.batch([insert(1), insert(1)]), { code: "23505", statementIndex: 1 });
  await pool.transaction(async (tx) => {
    await tx.batch([insert(1), insert(2)]);
    const savepoint = await tx.savepoint();
    await assert.rejects(tx.query("insert into batched values (2)"), { code: "23505" });
    await savepoint.rollback();
  });
  await assert.rejects(
    pool.transaction((tx) => tx.query("select 1 / 0")),
    { code: "22012" },
  );
  const [counted] = await pool.batch(["select count(*)::int as n from batched"]);
  assert.deepEqual(counted?.rows, [{ n: 2 }]);
}

/** connect(), as libraries use it: promises, callbacks, events, and an open transaction that comes back. */
async function clients(installed: Installed): Promise<void> {
  await using pool = open(installed);
  const client = await pool.connect();
  const heard: unknown[] = [];
  client.on("notification", ({ payload }) => heard.push(payload));
  client.on("notice", ({ message }) => heard.push(message));
  await client.query("listen news");
  const work = [
    client.query("select pg_notify('news', $1)", ["heard"]),
    client.query("do $$ begin raise notice 'noticed'; end $$"),
    client.query({ name: "one", text: "select 1 as n" }),
    client.query("select 2 as a; select 3 as b"),
  ] as const;
  await Promise.all(work);
  const called = await new Promise((resolve) => {
    client.query("select $1::int as n", [4], (error: Error | null, result: pg.QueryResult) =>
      resolve([error, result.rows]),
    );
  });
  assert.deepEqual(called, [null, [{ n: 4 }]]);
  assert.deepEqual(heard, ["heard", "noticed"]);
  await client.query("begin");
  client.release();
  await assert.rejects(pool.query("savepoint a"), { code: "25P01" });
  assert.equal(pool.getStats().create_count, 1);
}

/** Terminated, given up, closed: each is answered, and the pool goes on. */
async function faults(installed: Installed): Promise<void> {
  await using pool = open(installed);
  const slow = "select count(*) from generate_series(1, 1e9)";
  const running = pool.query(slow).catch((error: unknown) => error);
  const others = "from pg_stat_activity where query like '%1e9%' and pid <> pg_backend_pid() and state = 'active'";
  for (let killed = 0; killed === 0;) {
    killed = (await query(installed, `select pg_terminate_backend(pid) ${others}`)).rowCount ?? 0;
  }
  assert.equal(((await running) as { code?: string }).code, "57P01");
  assert.deepEqual(await pool.queryRow("select 1 as n"), { n: 1 });
  const created = pool.getStats().create_count;
  await assert.rejects(pool.query(slow, [], { timeoutMs: 50 }), { code: "ERR_VG_DB_QUERY_TIMEOUT" });
  assert.deepEqual(await pool.queryRow("select 2 as n"), { n: 2 });
  assert.equal(pool.getStats().create_count, created);
  const last = pool.query(slow).catch((error: unknown) => error);
  assert.equal((await pool.close({ deadlineMs: 50 })).killed_connections, 1);
  assert.equal(((await last) as { code?: string }).code, "ERR_VG_DB_CONNECTION_LOST");
  // The server runs it to its end, unless it is told.
  await query(installed, `select pg_terminate_backend(pid) ${others}`);
}

async function pipelining(installed: Installed): Promise<void> {
  await using pool = open(installed, { pipeline: true });
  await pool.query("select 1");
  const calls = Array.from({ length: 100 }, (_, n) =>
    pool.query("select $1::int as n, 1 / ($1::int % 10) as x", [n]).then(
      ({ rows }) => (rows[0] as { n: number }).n,
      (error: unknown) => (error as { code?: string }).code,
    ),
  );
  assert.deepEqual(
    await Promise.all(calls),
    calls.map((_, n) => (n % 10 === 0 ? "22012" : n)),
  );
  assert.ok(pool.getStats().pipelined_count > 0);
}
