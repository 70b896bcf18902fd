import pg from "pg";
import { expect, test } from "vitest";
import type { DbPoolOptions } from "../src/index.ts";
import { wireOf } from "../src/protocol/wire.ts";
import { ERRORS, READS, WRITES, compare, makeThings } from "./answers.ts";
import { usePostgres } from "./support.ts";

const postgres = usePostgres();

class Pipelining extends pg.Client {
  constructor(config: pg.ClientConfig) {
    super(config);
    Object.assign(this, { pipeline: true });
  }
}

/** Somebody else reads what comes, too. */
class Overheard extends pg.Client {
  constructor(config: pg.ClientConfig) {
    super(config);
    this.once("connect", () => {
      const { stream } = (this as unknown as { connection: { stream: NodeJS.EventEmitter } }).connection;
      stream.on("data", () => undefined);
    });
  }
}

/** As a rewritten pg might look. */
class Rewritten extends pg.Client {
  constructor(config: pg.ClientConfig) {
    super(config);
    this.once("connect", () => {
      const { connection } = this as unknown as { connection: object };
      Object.defineProperty(connection, "sendCopyFail", { value: undefined });
    });
  }
}

/** A user's class that sees every query. */
class Seeing extends pg.Client {}
const seen: string[] = [];
Object.defineProperty(Seeing.prototype, "query", {
  value(this: pg.Client, ...given: [string | { text: string }, ...unknown[]]) {
    seen.push(typeof given[0] === "string" ? given[0] : given[0].text);
    return (pg.Client.prototype.query as (...all: unknown[]) => unknown).apply(this, given);
  },
});

const VARIANTS: readonly (readonly [what: string, Client: typeof pg.Client, config: object, wire: boolean])[] = [
  ["a subclass that changes nothing", class Own extends pg.Client {}, {}, true],
  ["a subclass with its own query()", Seeing, {}, true],
  ["pg's pipeline mode", Pipelining, {}, false],
  ["pg's binary mode", pg.Client, { binary: true }, false],
  ["another reader on the socket", Overheard, {}, false],
  ["a pg that lacks something", Rewritten, {}, false],
];

test.each(VARIANTS)("with %s every answer and every error is pg's", async (_what, Client, config, wire) => {
  await makeThings(postgres.watch);
  const options = { Client, ...config, maxOpenConns: 1, prepareThreshold: 0 } as unknown as DbPoolOptions;
  const pool = postgres.pool(options);
  const theirs = await postgres.client(Client, config);
  await using conn = await pool.acquire();
  expect(wireOf(conn.client) !== undefined).toBe(wire);
  // pg's own parsers of the binary format take seconds for an array with null, and put functions on their dates.
  const reads = READS.filter(([text]) => !/::int\[\] as a|timestamp/.test(text));
  await compare(conn, theirs, [...reads, ...WRITES, ...ERRORS]);
  await compare(conn, theirs, [...reads, ...WRITES], { rowMode: "array" }, (index) => `name ${index}`);
  const both = (await conn.query("select 1 as a; select 2 as b")) as unknown as pg.QueryResult[];
  expect(both.map(({ rows }) => rows)).toEqual([[{ a: 1 }], [{ b: 2 }]]);
  const [one, two] = await conn.batch(["select 1::text as a", ["select $1::text as b", ["é"]]]);
  expect([one?.rows, two?.rows]).toEqual([[{ a: "1" }], [{ b: "é" }]]);
  conn.release();
  // And what the pool adds.
  const work = Array.from({ length: 10 }, (_, n) => pool.queryRow("select $1::text as n", [String(n)]));
  expect(await Promise.all(work)).toEqual(work.map((_, n) => ({ n: String(n) })));
  const failing = pool.query("select count(*) from generate_series(1, 1e9)", [], { timeoutMs: 50 });
  await expect(failing).rejects.toMatchObject({ code: "ERR_VG_DB_QUERY_TIMEOUT" });
  await expect(pool.transaction(async (tx) => tx.query("select 1 / 0"))).rejects.toMatchObject({ code: "22012" });
  expect(await pool.queryRow("select 'x' as t")).toEqual({ t: "x" });
  expect(pool.getStats()).toMatchObject({ in_use: 0, pending: 0 });
});

test("a class that sees every query sees those that the wire runs, and what is prepared is prepared", async () => {
  const pool = postgres.pool({
    Client: Seeing as never,
    maxOpenConns: 1,
    prepareThreshold: 0,
    transactionPooler: false,
  });
  seen.length = 0;
  for (let n = 0; n < 3; n++) await pool.query("select $1::int as n", [n]);
  await pool.exec({ text: "select 4" });
  expect(seen).toEqual([...Array.from({ length: 3 }, () => "select $1::int as n"), "select 4"]);
  const { rows } = await pool.query("select statement from pg_prepared_statements order by prepare_time", [], {
    prepare: false,
  });
  expect(rows.map(({ statement }) => statement)).toEqual(["select $1::int as n", "select 4"]);
});
