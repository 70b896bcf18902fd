/** What is wrong is named, with a code of its own, before anything is sent where that can be known; and it costs nothing. */
import { expect, test } from "vitest";
import {
  ConnectError,
  DbPool,
  LeaseReleasedError,
  PoolClosedError,
  PoolConfigError,
  QueryValueError,
  openDbPool,
  type QueryConfig,
} from "../src/index.ts";
import { backendPid, usePostgres } from "./support.ts";

const postgres = usePostgres();

const SECRET = "s3cr3t-pa55";

const caught = async (promise: Promise<unknown>): Promise<Error> => {
  try {
    await promise;
  } catch (error) {
    return error as Error;
  }
  throw new Error("nothing was refused");
};

test("a DSN that leads nowhere is a ConnectError that says which part is wrong, and shows no password", async () => {
  const changed = (change: (dsn: URL) => void): string => {
    const dsn = new URL(postgres.server.dsn);
    change(dsn);
    return dsn.href;
  };
  const wrong: [dsn: string, code: string, named: string][] = [
    [changed((dsn) => (dsn.port = "1")), "ECONNREFUSED", ":1"],
    [changed((dsn) => (dsn.pathname = "/nowhere")), "3D000", 'database "nowhere" does not exist'],
    [changed((dsn) => (dsn.password = SECRET)), "28P01", `user "${postgres.server.user}"`],
  ];
  for (const [dsn, code, named] of wrong) {
    const pool = new DbPool({ dsn });
    const calls = [openDbPool({ dsn }), pool.query("select 1"), pool.acquire(), pool.begin()];
    for (const error of await Promise.all(calls.map(caught))) {
      expect(error).toBeInstanceOf(ConnectError);
      expect(error).toMatchObject({ code: "ERR_VG_DB_CONNECT", pool: pool.name, cause: { code } });
      expect(error.message).toContain(named);
      expect(error.message + String(error.cause) + String(error.stack)).not.toContain(SECRET);
      expect(error.message).not.toContain(postgres.server.password);
    }
    await expect(pool.connect()).rejects.toMatchObject({ code });
    expect(await pool.health()).toMatchObject({ ok: false, error: expect.stringContaining(named) as string });
    expect(pool.getStats()).toMatchObject({ open_connections: 0, in_use: 0, pending: 0 });
    await pool.close();
  }
});

test("what is no query is refused with what was given, and takes no connection", async () => {
  const pool = postgres.pool();
  const wrong: [input: unknown, message: string][] = [
    [undefined, "got undefined"],
    [null, "got null"],
    [5, "got 5"],
    [Symbol("select 1"), "got a symbol"],
    [["select 1"], "got an array"],
    [{}, "got an object whose text is undefined"],
    [{ text: 5, values: [SECRET] }, "got an object whose text is 5"],
    [new String("select 1"), "got an object whose text is undefined"],
    [Buffer.from("select 1"), "got an object whose text is undefined"],
    [{ text: "select 1", name: 5 }, "name must be a string, got 5"],
    [{ text: "select 1", types: {} }, "types must have a getTypeParser(), got an object"],
    [{ text: "select $1", values: SECRET }, "values must be an array, got a string"],
    [{ text: "select 1", values: Array.from({ length: 65_536 }, () => 1) }, "at most 65535 values, got 65536"],
  ];
  for (const [input, message] of wrong) {
    for (const call of [pool.query(input as QueryConfig), pool.queryRow(input as string), pool.exec(input as string)]) {
      const error = await caught(call);
      expect(error).toBeInstanceOf(PoolConfigError);
      expect(error.message).toContain(message);
      expect(error.message).not.toContain(SECRET);
    }
  }
  expect(pool.getStats()).toMatchObject({ acquire_count: 0, create_count: 0, in_use: 0 });
  // The empty text is a query: the server says so.
  expect((await pool.query("")).rows).toEqual([]);
});

const circular: Record<string, unknown> = { secret: SECRET };
circular["self"] = circular;

const throwing = (error: unknown) => (): never => {
  throw error;
};

const UNSENDABLE: [what: string, value: unknown, reason: string][] = [
  ["a circle", circular, "Converting circular structure to JSON"],
  ["a BigInt inside of JSON", { id: 5n }, "Do not know how to serialize a BigInt"],
  ["a throwing toPostgres()", { toPostgres: throwing(new Error(SECRET)) }, "serialising it throws"],
  ["a throwing toJSON()", { toJSON: throwing(SECRET) }, "serialising it throws"],
  [
    "a getter that throws",
    Object.defineProperty({}, "x", { enumerable: true, get: throwing(new Error(SECRET)) }),
    "throws",
  ],
];

test.each(UNSENDABLE)(
  "%s cannot be sent, which the error says, and costs neither query nor connection",
  async (_what, value, reason) => {
    const pool = postgres.pool({ maxOpenConns: 1, pipeline: true });
    const pid = await backendPid(pool);
    const neighbours = [pool.query("select $1::int as n", [1]), pool.query("select $1::int as n", [2])];
    await using conn = await pool.acquire();
    const attempts = [
      pool.query("select $1::text, $2::jsonb", ["fine", value]),
      pool.query({ text: "select $1::text, $2::jsonb", name: "named", values: ["fine", value] }),
      pool.queryRow("select $1::text, $2::jsonb", ["fine", value]),
      conn.exec("select $1::text, $2::jsonb", ["fine", value]),
      pool.batch([["select 1"], ["select $1::text, $2::jsonb", ["fine", value]]]),
    ];
    for (const error of await Promise.all(attempts.map(caught))) {
      expect(error).toBeInstanceOf(QueryValueError);
      expect(error).toMatchObject({ code: "ERR_VG_DB_VALUE", pool: pool.name });
      expect(error.message).toContain("the value for $2 cannot be sent");
      expect(error.message).toContain(reason);
      expect(error.message).not.toContain(SECRET);
      expect(error).toHaveProperty("cause");
    }
    conn.release();
    expect((await Promise.all(neighbours)).map(({ rows }) => rows as unknown)).toEqual([[{ n: 1 }], [{ n: 2 }]]);
    const named = { text: "select $1::text as a, $2::jsonb as b", name: "named", values: ["fine", { id: 5 }] };
    expect((await pool.query(named)).rows).toEqual([{ a: "fine", b: { id: 5 } }]);
    const tx = await pool.begin();
    await expect(tx.query("select $1::jsonb", [value])).rejects.toThrow(QueryValueError);
    expect(await tx.queryRow("select pg_backend_pid() as pid")).toEqual({ pid });
    await tx.commit();
    expect(pool.getStats()).toMatchObject({ in_use: 0, create_count: 1, broken_closed: 0, dirty_closed: 0 });
  },
);

test("a statement that the server refuses costs no connection, be it for its number of values or a zero byte", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const client = await pool.connect();
  client.release();
  const wrong: [text: string, values: unknown[], code: string][] = [
    ["select $1::int", [], "08P01"],
    ["select $1::int", [1, 2], "08P01"],
    ["select 1 \0", [1], "ERR_VG_DB_CONFIG"],
    ["select $1::text", ["\0"], "22021"],
    ["select $1::int", ["one"], "22P02"],
  ];
  for (const [text, values, code] of wrong) {
    await expect(pool.query(text, values)).rejects.toMatchObject({ code });
    await expect(pool.transaction((tx) => tx.query(text, values))).rejects.toMatchObject({ code });
  }
  expect(await pool.connect()).toBe(client);
  client.release();
});

test("a client of connect() that is given too many values says so, and its neighbours are not harmed", async () => {
  const pool = postgres.pool();
  const client = await pool.connect();
  const many = Array.from({ length: 65_536 }, () => 1);
  await expect(client.query("select $1::int", many)).rejects.toThrow(RangeError);
  expect((await pool.query("select $1::int as n", [7])).rows).toEqual([{ n: 7 }]);
  expect((await client.query("select $1::int as n", [8])).rows).toEqual([{ n: 8 }]);
  client.release();
});

test("a release comes once: the second throws, as long as the client has nobody else who connected to it", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const twice = (release: () => void): void => {
    release();
    for (let i = 0; i < 2; i++) {
      expect(release).toThrow(LeaseReleasedError);
      expect(release).toThrow(expect.objectContaining({ code: "ERR_VG_DB_LEASE_RELEASED", pool: pool.name }) as Error);
    }
  };
  const conn = await pool.acquire();
  twice(() => conn.release());
  expect(() => conn.discard()).toThrow(LeaseReleasedError);
  const client = await pool.connect();
  twice(() => client.release());
  const lent = await pool.acquire();
  expect(lent.client).toBe(client);
  expect(() => client.release()).toThrow(LeaseReleasedError);
  lent.release();
  await pool.query("select 1");
  expect(() => client.release()).toThrow(LeaseReleasedError);
  const { release } = await pool.connect();
  release();
  const next = await pool.connect();
  expect(() => release()).toThrow(LeaseReleasedError);
  next.release();
  expect(pool.getStats()).toMatchObject({ in_use: 0, acquire_count: 6, release_count: 6 });
});

test("what is used after its end says so: a lease, a transaction, a pool", async () => {
  const pool = postgres.pool();
  const conn = await pool.acquire();
  conn.release();
  for (const late of [conn.query("select 1"), conn.queryRow("select 1"), conn.exec("select 1")]) {
    await expect(late).rejects.toMatchObject({ code: "ERR_VG_DB_LEASE_RELEASED", pool: pool.name });
  }
  const tx = await pool.begin();
  await tx.commit();
  for (const late of [tx.query("select 1"), tx.commit(), tx.rollback(), tx.savepoint()]) {
    await expect(late).rejects.toMatchObject({ code: "ERR_VG_DB_TRANSACTION_STATE", pool: pool.name });
  }
  await pool.close();
  const late = [
    pool.query("select 1"),
    pool.exec("select 1"),
    pool.batch([["select 1"]]),
    pool.acquire(),
    pool.connect(),
    pool.begin(),
    pool.transaction(async () => undefined),
  ];
  for (const error of await Promise.all(late.map(caught))) {
    expect(error).toBeInstanceOf(PoolClosedError);
    expect(error.message).toContain(pool.name);
    expect(error.message).not.toContain(postgres.server.password);
  }
});
