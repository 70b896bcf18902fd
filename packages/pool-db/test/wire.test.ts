import { Socket } from "node:net";
import { Readable } from "node:stream";
import { text as allOf } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import fc from "fast-check";
import pg from "pg";
import { from as copyFrom, to as copyTo } from "pg-copy-streams";
import Cursor from "pg-cursor";
import { afterEach, expect, test } from "vitest";
import { ConnectionLostError, type DbPool, type DbPoolOptions } from "../src/index.ts";
import { ERRORS, READS, WRITES, compare, makeThings } from "./answers.ts";
import { fakeServer, oneRow } from "./fake-server.ts";
import { backendPid, until, usePostgres } from "./support.ts";
import {
  READY,
  commandComplete,
  dataRow,
  errorResponse,
  int16,
  int32,
  message,
  notice,
  rowDescription,
  text,
} from "./wire-bytes.ts";

const postgres = usePostgres();

// ---- The same answers as pg's ------------------------------------------------------------------------------------------

test("every answer and every error is the one of pg's own client, before and after the statement is prepared", async () => {
  await makeThings(postgres.watch);
  const statements = [...READS, ...WRITES, ...ERRORS];
  const pool = postgres.pool({ maxOpenConns: 1 });
  const theirs = await postgres.client();
  await using conn = await pool.acquire();
  await compare(conn, theirs, statements);
  const { rows } = await conn.query("select statement from pg_prepared_statements");
  // Those were the wire's answers, then. What cannot be parsed is not prepared.
  const unprepared = new Set(["select nonsense", "select * from nowhere", "select 1 +"]);
  const expected = statements.map(([statement]) => statement).filter((statement) => !unprepared.has(statement));
  expect(new Set(rows.map(({ statement }) => statement))).toEqual(new Set(expected));
});

test("rows as arrays, types of one query, names that the user gives, and a client of connect(): as with pg", async () => {
  await makeThings(postgres.watch);
  const pool = postgres.pool();
  const theirs = await postgres.client();
  await using conn = await pool.acquire();
  await compare(conn, theirs, [...READS, ...WRITES], { rowMode: "array" });
  const types = { getTypeParser: (oid: number) => (value: string) => [oid, value] };
  await compare(conn, theirs, READS, { types });
  await compare(conn, theirs, READS.slice(0, 10), { types, rowMode: "array" });
  await compare(conn, theirs, [...READS, ...WRITES, ...ERRORS], {}, (index) => `name ${index}`);
  const client = await pool.connect();
  await compare(client, theirs, [...READS, ...WRITES, ...ERRORS]);
  client.release();
  expect(pool.getStats()).toMatchObject({ create_count: 2 });
});

const INT4 = pg.types.builtins.INT4;
const ofInt4 = pg.types.getTypeParser(INT4);
afterEach(() => pg.types.setTypeParser(INT4, ofInt4));

test("a parser that is set, and set again, counts from the next answer on, on a prepared statement too", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const read = async (): Promise<unknown> => (await pool.query("select 5 as n")).rows;
  for (let round = 0; round < 4; round++) expect(await read()).toEqual([{ n: 5 }]);
  pg.types.setTypeParser(INT4, (value) => `<${value}>`);
  expect(await read()).toEqual([{ n: "<5>" }]);
  pg.types.setTypeParser(INT4, ofInt4);
  expect(await read()).toEqual([{ n: 5 }]);
  const types = { getTypeParser: () => () => "of one query" } as unknown as pg.CustomTypesConfig;
  expect((await pool.query({ text: "select 5 as n", types })).rows).toEqual([{ n: "of one query" }]);
  expect(await read()).toEqual([{ n: 5 }]);
  const ofPool = postgres.pool({ maxOpenConns: 1, types });
  for (let round = 0; round < 5; round++) {
    expect((await ofPool.query("select 5 as n")).rows).toEqual([{ n: "of one query" }]);
  }
});

test("a parser that throws rejects its query, and the connection goes on", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const pid = await backendPid(pool);
  let calls = 0;
  const throws = (): never => {
    throw new RangeError(`call ${++calls}`);
  };
  const bad = [{ getTypeParser: () => throws }, { getTypeParser: throws }, { getTypeParser: () => undefined }];
  for (const types of bad as unknown as pg.CustomTypesConfig[]) {
    for (let round = 0; round < 5; round++) {
      const query = { text: "select n from generate_series(1, 50) as n", types };
      await expect(pool.query(query)).rejects.toThrow(/call \d|gave no function/);
      expect(await pool.transaction((tx) => tx.query(query).catch(() => tx.queryRow("select 1 as n")))).toEqual({
        n: 1,
      });
    }
  }
  expect(await backendPid(pool)).toBe(pid);
});

test("what a caller does to the fields of its result, no other caller sees", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  for (let round = 0; round < 6; round++) {
    const { fields } = await pool.query("select 1 as a, 2 as b");
    expect(fields.map(({ name }) => name)).toEqual(["a", "b"]);
    fields.length = 0;
    const nothing = await pool.query("update pg_class set relname = 'x' where false");
    expect(nothing.fields).toEqual([]);
    nothing.fields.push(...fields);
  }
});

// ---- However the bytes come --------------------------------------------------------------------------------------------

/** A socket whose chunks come in pieces of these lengths, over and over; 0 is to the end of a message. */
function choppedBy(lengths: readonly number[]): DbPoolOptions {
  class Chopped extends Socket {
    #at = 0;
    /** What is to come of the message under way. */
    #left = 0;
    #header = Buffer.alloc(0);

    override emit(event: string | symbol, ...given: unknown[]): boolean {
      if (event !== "data") return super.emit(event, ...given);
      let bytes = given[0] as Buffer;
      while (bytes.length > 0) {
        const length = lengths[this.#at++ % lengths.length] as number;
        const piece = bytes.subarray(0, length === 0 ? this.#toBorder(bytes) : length);
        this.#follow(piece);
        bytes = bytes.subarray(piece.length);
        super.emit("data", piece);
      }
      return true;
    }

    #toBorder(bytes: Buffer): number {
      if (this.#left > 0) return this.#left;
      const header = Buffer.concat([this.#header, bytes]).subarray(0, 5);
      return header.length < 5 ? bytes.length : 1 + header.readInt32BE(1) - this.#header.length;
    }

    #follow(piece: Buffer): void {
      for (let at = 0; at < piece.length;) {
        if (this.#left === 0) {
          const more = piece.subarray(at, at + 5 - this.#header.length);
          this.#header = Buffer.concat([this.#header, more]);
          at += more.length;
          if (this.#header.length < 5) return;
          this.#left = this.#header.readInt32BE(1) - 4;
          this.#header = Buffer.alloc(0);
        }
        const taken = Math.min(this.#left, piece.length - at);
        this.#left -= taken;
        at += taken;
      }
    }
  }
  return { stream: () => new Chopped() };
}

test("wherever the server's bytes are cut, all is as it was: answers, errors, notices, notifications, cursors, COPY", async () => {
  await makeThings(postgres.watch);
  await postgres.watch(
    "create or replace function noisy(n int) returns int language plpgsql as $$ begin raise notice 'notice %', n; perform pg_notify('news', n::text); return n; end $$",
  );
  const work = async (pool: DbPool): Promise<void> => {
    const conn = await pool.acquire();
    const heard: unknown[] = [];
    conn.client.on("notice", ({ message: words }) => heard.push(words));
    conn.client.on("notification", ({ payload }) => heard.push(payload));
    await conn.query("listen news");
    for (let n = 0; n < 4; n++) {
      expect((await conn.query("select noisy($1::int) as n", [n])).rows).toEqual([{ n }]);
      expect((await conn.query(`set timezone to 'Etc/GMT-${n}'`)).command).toBe("SET");
      await expect(conn.query("select nonsense")).rejects.toMatchObject({ code: "42703" });
      const both = (await conn.query("select 1 as a; select 2 as b")) as unknown as pg.QueryResult[];
      expect(both.map(({ rows }) => rows)).toEqual([[{ a: 1 }], [{ b: 2 }]]);
      const [one, two] = await conn.batch(["select noisy(7) as n", ["select repeat($1, 30) as t", ["é"]]]);
      expect([one?.rows, two?.rows]).toEqual([[{ n: 7 }], [{ t: "é".repeat(30) }]]);
      // By pg's own client in between.
      const { rows } = await conn.client.query({ text: "explain select 1" });
      expect(rows).toHaveLength(1);
      const cursor = conn.client.query(new Cursor("select n from generate_series(1, 9) as n"));
      expect(await cursor.read(2)).toEqual([{ n: 1 }, { n: 2 }]);
      await cursor.close();
      expect(await allOf(conn.client.query(copyTo("copy things to stdout")))).toBe("1\tone\n2\ttwo\n");
      await conn.query("begin");
      await pipeline(Readable.from(["7\tseven\n"]), conn.client.query(copyFrom("copy things from stdin")));
      expect((await conn.query("delete from things returning id")).rows).toHaveLength(3);
      await conn.query("rollback");
    }
    await conn.query("select 1");
    expect(heard).toEqual([0, 1, 2, 3].flatMap((n) => [`notice ${n}`, String(n), "notice 7", "7"]));
    conn.client.removeAllListeners("notice").removeAllListeners("notification");
    conn.discard();
  };
  const lengths = fc.oneof(
    fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 8 }),
    fc.array(fc.integer({ min: 0, max: 60 }), { minLength: 1, maxLength: 8 }),
  );
  await fc.assert(
    fc.asyncProperty(lengths, async (given) => {
      const pool = postgres.pool({ maxOpenConns: 1, ...choppedBy(given) });
      await work(pool);
      await pool.destroy();
    }),
    { numRuns: 20, examples: [[[0]], [[1]], [[5]], [[1, 0]], [[1e9]]] },
  );
});

test("pipelined answers that are cut anywhere are still each caller's own", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 40 }), { minLength: 1, maxLength: 8 }), async (given) => {
      const pool = postgres.pool({ maxOpenConns: 1, pipeline: true, pipelineDepth: 50, ...choppedBy(given) });
      await pool.query("select 1");
      const answers = await Promise.all(
        Array.from({ length: 40 }, async (_, n) => {
          if (n % 7 === 0) return pool.query("select 1 / ($1::int - $1::int)", [n]).catch((error) => error.code);
          return (await pool.query("select $1::int as n, repeat('x', $1::int) as x", [n])).rows;
        }),
      );
      expect(answers).toEqual(
        Array.from({ length: 40 }, (_, n) => (n % 7 === 0 ? "22012" : [{ n, x: "x".repeat(n) }])),
      );
      await pool.destroy();
    }),
    { numRuns: 8, examples: [[[0]], [[1]]] },
  );
});

test("a notice that an exchange begins in the middle of is pg's to its end, however that comes", async () => {
  const words = notice("it takes two");
  for (const cut of [1, 4, 5, 6, words.length - 1]) {
    let send: (bytes: Buffer) => void = () => undefined;
    await using server = await served((_asked, socket) => {
      send = (bytes) => void socket.write(bytes);
      // The rest of the notice comes by itself, and the answer behind it.
      if (asked++ === 0) return oneRow("first");
      socket.write(words.subarray(cut));
      setTimeout(() => socket.write(oneRow("second")), 20);
      return undefined;
    });
    let asked = 0;
    const pool = postgres.pool({ dsn: server.dsn, maxOpenConns: 1, transactionPooler: false });
    const conn = await pool.acquire();
    const heard: unknown[] = [];
    conn.client.on("notice", (given) => heard.push(given.message));
    expect((await conn.query("select 1")).rows).toEqual([{ n: "first" }]);
    const arrived = new Promise((resolve) => {
      const { stream } = (conn.client as unknown as { connection: { stream: Socket } }).connection;
      stream.once("data", resolve);
    });
    send(words.subarray(0, cut));
    await arrived;
    expect((await conn.query("select 2", [], { timeoutMs: 5_000 })).rows).toEqual([{ n: "second" }]);
    expect(heard).toEqual(["it takes two"]);
    conn.release();
    await pool.close();
  }
});

/** A fake server that is closed at the end of the block. */
async function served(
  answer: Parameters<typeof fakeServer>[0],
): Promise<{ dsn: string; [Symbol.asyncDispose](): Promise<void> }> {
  const { dsn, close } = await fakeServer(answer);
  return { dsn, [Symbol.asyncDispose]: close };
}

// ---- Beside pg's client ------------------------------------------------------------------------------------------------

test("calls of pg's client and of the connection, in any order and not awaited, get their own answers and errors", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const conn = await pool.acquire();
  const { client } = conn;
  const kind = fc.constantFrom(
    "ours",
    "pg",
    "pg callback",
    "pg named",
    "ours fails",
    "pg fails",
    "ours explain",
    "batch",
  );
  let next = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(kind, { minLength: 2, maxLength: 12 }), async (kinds) => {
      const answers = kinds.map(async (each) => {
        const n = next++;
        const select = "select $1::int as n";
        const rows = [{ n }];
        const zero = expect.objectContaining({ code: "22012" }) as unknown;
        if (each === "ours") expect((await conn.query(select, [n])).rows).toEqual(rows);
        else if (each === "pg") expect((await client.query(select, [n])).rows).toEqual(rows);
        else if (each === "pg named") {
          expect((await client.query({ name: "n", text: select, values: [n] })).rows).toEqual(rows);
        } else if (each === "pg callback") {
          const answer = new Promise((resolve) =>
            client.query(select, [n], (error, result) => resolve([error, result.rows])),
          );
          expect(await answer).toEqual([null, rows]);
        } else if (each === "batch") {
          const results = await conn.batch([[select, [n]], "select 2 as n"]);
          expect(results.map((result) => result.rows)).toEqual([rows, [{ n: 2 }]]);
        } else if (each === "ours explain") expect((await conn.query("explain select 1")).command).toBe("EXPLAIN");
        else if (each === "ours fails") await expect(conn.query("select 1 / 0")).rejects.toEqual(zero);
        else await expect(client.query("select 1 / 0")).rejects.toEqual(zero);
      });
      await Promise.all(answers);
    }),
    { numRuns: 60 },
  );
  conn.release();
  expect(await pool.queryRow("select 1 as n")).toEqual({ n: 1 });
  expect(pool.getStats()).toMatchObject({ create_count: 1 });
});

test("a server that says goodbye during a query, or between two, fails what runs and nothing else", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const running = pool.query("select count(*) from generate_series(1, 1e9)").catch((error: unknown) => error);
  const busy =
    "select pid from pg_stat_activity where query like '%1e9%' and pid <> pg_backend_pid() and state = 'active'";
  await until("the query runs", async () => (await postgres.watch(busy)).rowCount === 1);
  await postgres.watch(`select pg_terminate_backend(pid) from (${busy}) as x`);
  expect(await running).toMatchObject({ code: "57P01" });
  const conn = await pool.acquire();
  const lost = new Promise((resolve) => conn.client.once("end", resolve));
  await postgres.watch("select pg_terminate_backend($1)", [await backendPid(conn)]);
  await lost;
  await expect(conn.query("select 1")).rejects.toThrow(ConnectionLostError);
  conn.release();
  expect(await pool.queryRow("select 1 as n")).toEqual({ n: 1 });
});

// ---- COPY where none can be --------------------------------------------------------------------------------------------

test("no COPY that waits for data hangs or shifts answers: in a batch it is refused, hidden behind another it fails", async () => {
  await makeThings(postgres.watch);
  const pool = postgres.pool({ maxOpenConns: 1 });
  const conn = await pool.acquire();
  for (const copyIn of ["copy things from stdin", " /* x */ COPY things\nFROM\tSTDIN with csv"]) {
    await expect(conn.batch(["select 1", copyIn])).rejects.toThrow("batch(): item 1 is a COPY FROM STDIN");
    await expect(conn.query(copyIn)).rejects.toMatchObject({ code: "57014" });
  }
  for (const hidden of ["select 1; copy things from stdin", "select 1 /* ' */; copy things from stdin --'"]) {
    await expect(conn.query(hidden)).rejects.toMatchObject({ code: "57014" });
    await expect(conn.batch([hidden])).rejects.toMatchObject({ code: "42601" });
  }
  const [one, out, two] = await conn.batch(["select 1 as n", "copy things to stdout", "select 2 as n"]);
  expect([one?.rows, two?.rows]).toEqual([[{ n: 1 }], [{ n: 2 }]]);
  expect(out).toMatchObject({ command: "COPY", rowCount: 2, rows: [] });
  for (let n = 0; n < 3; n++) expect((await conn.query("select $1::int as n", [n])).rows).toEqual([{ n }]);
  conn.release();
  expect(pool.getStats()).toMatchObject({ create_count: 1 });
});

test("a server that asks for data nevertheless is told that there is none, and the connection goes on", async () => {
  const failed = Buffer.concat([errorResponse("ERROR", "57014", "COPY from stdin failed"), READY]);
  await using server = await served(({ types }) => {
    if (types === "fS") return failed;
    return asked++ === 0 ? upTo(2, message("G", Buffer.of(0), int16(1), int16(0))) : oneRow("2");
  });
  let asked = 0;
  const pool = postgres.pool({ dsn: server.dsn, maxOpenConns: 1, transactionPooler: false });
  await expect(pool.query("select 1")).rejects.toMatchObject({ code: "57014" });
  expect(await pool.queryRow("select 2")).toEqual({ n: "2" });
  expect(pool.getStats()).toMatchObject({ create_count: 1 });
  await pool.close();
});

// ---- A server that is none ---------------------------------------------------------------------------------------------

const ANSWER = [message("1"), message("2"), rowDescription(["n"]), dataRow(["1"]), commandComplete("SELECT 1")];
const upTo = (count: number, ...more: readonly Buffer[]): Buffer => Buffer.concat([...ANSWER.slice(0, count), ...more]);

const GARBAGE: readonly (readonly [what: string, bytes: Buffer])[] = [
  ["a length of 0", Buffer.from([0x44, 0, 0, 0, 0])],
  ["a length below 0", Buffer.from([0x44, 255, 255, 255, 255])],
  ["a length of 2 GiB", Buffer.from([0x44, 0x7f, 255, 255, 255])],
  ["text", Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n")],
  ["a message of no type", upTo(0, message("\0"))],
  ["a message of an unknown type", upTo(0, message("?", text("x")))],
  ["a login", upTo(0, message("R", int32(3)))],
  ["a login of an unknown kind", upTo(0, message("R", int32(99)))],
  ["another key", upTo(0, message("K", int32(1), int32(2)))],
  ["a suspended portal", upTo(4, message("s"))],
  ["parameters", upTo(1, message("t", int16(0)))],
  ["a CopyBoth", upTo(2, message("W", Buffer.of(0), int16(0)))],
  ["columns without an end", upTo(2, message("T", int16(3), text("a")))],
  ["columns without a name's end", upTo(2, message("T", int16(1), Buffer.from("abc")))],
  ["a row without columns", upTo(3, message("D"))],
  ["a row that is too short", upTo(3, dataRow([]))],
  ["a row that is too long", upTo(3, dataRow(["1", "2"]))],
  ["a value that is longer than its row", upTo(3, message("D", int16(1), int32(100), text("x")), ...ANSWER.slice(4))],
  ["a value of a length below -1", upTo(3, message("D", int16(1), int32(-2)))],
  ["a row behind the answer", upTo(5, dataRow(["1"]))],
  ["a second answer", upTo(5, commandComplete("SELECT 1"))],
  ["a second empty answer", upTo(5, message("I"))],
  ["ready before an answer", upTo(4, READY)],
  ["ready at once", READY],
  ["ready without a state", upTo(5, message("Z"))],
  ["ready in an unknown state", upTo(5, message("Z", Buffer.from("?")))],
  ["ready with too much", upTo(5, message("Z", Buffer.from("II")))],
  ["an error without an end", upTo(0, message("E", Buffer.from("SERROR")))],
  ["an empty error", upTo(0, message("E"))],
  ["a notice without an end", upTo(1, message("N", text("Mwords")), READY)],
  ["a notification without an end", upTo(1, message("A", int32(1), text("channel")))],
  ["a parameter without a value", upTo(1, message("S", text("TimeZone")))],
  ["a COPY without columns", upTo(2, message("G", Buffer.of(0), int16(9)))],
];

test.each(GARBAGE)(
  "%s instead of an answer: the query fails with a code, and the pool is whole",
  async (_what, bytes) => {
    let asked = 0;
    await using server = await served(() => (++asked === 2 ? bytes : oneRow(String(asked))));
    const pool = postgres.pool({ dsn: server.dsn, maxOpenConns: 1, transactionPooler: false });
    expect(await pool.queryRow("select 1 as n")).toEqual({ n: "1" });
    const error: unknown = await pool.query("select 2 as n").catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(ConnectionLostError);
    expect((error as Error).message).toContain("the server sent ");
    expect(await pool.queryRow("select 3 as n")).toEqual({ n: "3" });
    expect(pool.getStats()).toMatchObject({
      open_connections: 1,
      in_use: 0,
      idle: 1,
      broken_closed: 1,
      create_count: 2,
    });
    await pool.close();
  },
);

test("random bytes instead of an answer are answered with a code, whatever they are", async () => {
  let bytes: Buffer = Buffer.alloc(0);
  await using server = await served(({ text: asked }, socket) => {
    if (asked !== "select 2 as n") return oneRow("1");
    socket.end(bytes);
    return undefined;
  });
  const pool = postgres.pool({ dsn: server.dsn, maxOpenConns: 1, transactionPooler: false });
  const letters = fc.constantFrom(...Array.from("123ACDEGHINRSTVWZcdnst"));
  const plausible = fc
    .array(fc.tuple(letters, fc.uint8Array({ maxLength: 12 })), { maxLength: 8 })
    .map((messages) => Buffer.concat(messages.map(([type, body]) => message(type, Buffer.from(body)))));
  const given = fc.oneof(
    plausible,
    fc.uint8Array({ maxLength: 60 }).map((random) => Buffer.from(random)),
  );
  await fc.assert(
    fc.asyncProperty(given, fc.nat({ max: 5 }), async (garbage, before) => {
      bytes = upTo(before, garbage);
      const result: unknown = await pool.query("select 2 as n", [], { timeoutMs: 5_000 }).then(
        ({ rows }) => rows,
        (error: unknown) => error,
      );
      if (!(result instanceof pg.DatabaseError) && !Array.isArray(result)) {
        expect(result).toBeInstanceOf(ConnectionLostError);
      }
      await until("the connection is gone", () => pool.getStats().open_connections === 0);
      expect(pool.getStats()).toMatchObject({ in_use: 0, idle: 0, pending: 0 });
    }),
    { numRuns: 150 },
  );
  await pool.close();
});

test("an error that comes between two queries, and one that answers none, fail what is next with their own words", async () => {
  let asked = 0;
  await using server = await served((_given, socket) => {
    if (++asked !== 1) return oneRow(String(asked));
    setImmediate(() => socket.end(errorResponse("FATAL", "57P01", "going away")));
    return oneRow("1");
  });
  const pool = postgres.pool({ dsn: server.dsn, maxOpenConns: 1, transactionPooler: false });
  const conn = await pool.acquire();
  expect((await conn.query("select 1")).rows).toEqual([{ n: "1" }]);
  const ended = new Promise((resolve) => conn.client.once("end", resolve));
  await ended;
  await expect(conn.query("select 2")).rejects.toThrow(ConnectionLostError);
  conn.release();
  expect(await pool.queryRow("select 3")).toEqual({ n: "2" });
  await pool.close();
});
