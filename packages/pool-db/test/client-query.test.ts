import { AsyncLocalStorage } from "node:async_hooks";
import { once } from "node:events";
import pg from "pg";
import { afterEach, expect, test } from "vitest";
import { usePostgres } from "./support.ts";

const postgres = usePostgres();

const inherited = Object.getOwnPropertyDescriptor(pg.Client.prototype, "query") as PropertyDescriptor;
afterEach(() => Object.defineProperty(pg.Client.prototype, "query", inherited));

const preparedOn = async (client: pg.ClientBase): Promise<string[]> => {
  const { rows } = await client.query<{ statement: string }>(
    "select statement from pg_prepared_statements where name like 'vg_%' and statement not like '%pg_prepared%'",
  );
  return rows.map(({ statement }) => statement);
};

test("what an ORM runs again and again on a client of connect() is prepared by itself, with equal answers", async () => {
  const pool = postgres.pool();
  const client = await pool.connect();
  const plain = new pg.Client(postgres.server.dsn);
  await plain.connect();
  const text = "select $1::int as n, $2 as t, null as nothing";
  for (let n = 0; n < 5; n++) {
    const ours = await client.query(text, [n, "text"]);
    const theirs = await plain.query(text, [n, "text"]);
    expect(ours.rows).toEqual(theirs.rows);
    expect(ours.fields).toEqual(theirs.fields.map((field) => ({ ...field })));
    expect([ours.command, ours.rowCount]).toEqual([theirs.command, theirs.rowCount]);
  }
  expect(await preparedOn(client)).toEqual([text]);
  client.release();
  await plain.end();
});

test("every form of client.query answers as pg's own does", async () => {
  const pool = postgres.pool();
  const client = await pool.connect();
  const answered = await new Promise((resolve) => {
    const returned: unknown = client.query("select 1 as n", (error: Error | null, result: pg.QueryResult) =>
      resolve([returned, error, result.rows]),
    );
  });
  expect(answered).toEqual([undefined, null, [{ n: 1 }]]);
  const withValues = await new Promise((resolve) => {
    client.query("select $1::int as n", [2], (error, result) => resolve([error, result.rows]));
  });
  expect(withValues).toEqual([null, [{ n: 2 }]]);
  const array = await client.query({ text: "select $1::int as n", values: [3], rowMode: "array" });
  expect(array.rows).toEqual([[3]]);
  const types = { getTypeParser: () => (value: string) => `<${value}>` } as unknown as pg.CustomTypesConfig;
  expect((await client.query({ text: "select 4 as n", types })).rows).toEqual([{ n: "<4>" }]);
  expect((await client.query({ name: "five", text: "select 5 as n" })).rows).toEqual([{ n: 5 }]);
  await expect(client.query({ name: "five", text: "select 6 as n" })).rejects.toThrow("must be unique");
  const several = (await client.query("select 1 as a; select 2 as b")) as unknown as pg.QueryResult[];
  expect(several.map(({ rows }) => rows)).toEqual([[{ a: 1 }], [{ b: 2 }]]);
  client.release();
});

test("queries that are not awaited run in the order of their calls, whoever runs them", async () => {
  const pool = postgres.pool();
  const client = await pool.connect();
  await client.query("create temporary table steps (n serial, step text)");
  const calls = ["plain", "begin", "plain", "plain", "commit", "plain"].map((step, index) =>
    step === "plain" ? client.query("insert into steps (step) values ($1)", [String(index)]) : client.query(step),
  );
  await Promise.all(calls);
  expect((await client.query("select step from steps order by n")).rows.map(({ step }) => step)).toEqual([
    "0",
    "2",
    "3",
    "5",
  ]);
  client.release();
});

test("an error's stack leads to the caller, and the client goes on", async () => {
  const pool = postgres.pool();
  const client = await pool.connect();
  const askForNonsense = async () => client.query("select nonsense from nowhere");
  const error = await askForNonsense().catch((caught: unknown) => caught as Error & { code: string });
  expect(error).toBeInstanceOf(pg.DatabaseError);
  expect(error).toMatchObject({ code: "42P01" });
  expect((error as Error).stack).toContain("client-query.test.ts");
  expect((await client.query("select 1 as n")).rows).toEqual([{ n: 1 }]);
  client.release();
});

test("what a callback throws is an uncaught error, and the client goes on", async () => {
  const pool = postgres.pool();
  const client = await pool.connect();
  const uncaught = once(process, "uncaughtException");
  const others = process.listeners("uncaughtException").filter((listener) => listener.name !== "bound onceWrapper");
  for (const listener of others.slice(0, -1)) process.off("uncaughtException", listener);
  try {
    client.query("select 1", () => {
      throw new Error("thrown by the callback");
    });
    const [error] = (await uncaught) as [Error];
    expect(error.message).toBe("thrown by the callback");
  } finally {
    for (const listener of others.slice(0, -1)) process.on("uncaughtException", listener);
  }
  expect((await client.query("select 1 as n")).rows).toEqual([{ n: 1 }]);
  client.release();
});

test("the caller's async context is there after each query", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const storage = new AsyncLocalStorage<number>();
  const seen = await Promise.all(
    [1, 2, 3].map((n) =>
      storage.run(n, async () => {
        await pool.query("select 1");
        const client = await pool.connect();
        await client.query("select 2");
        client.release();
        return storage.getStore();
      }),
    ),
  );
  expect(seen).toEqual([1, 2, 3]);
});

test("a tracing library that wraps pg's query sees each statement, with its text, its values and its end", async () => {
  const seen: unknown[] = [];
  type Query = (this: pg.Client, ...given: unknown[]) => unknown;
  const original = inherited.value as Query;
  // Such libraries follow a query by the callback of what was given.
  const wrapper: Query = function wrapped(this, ...given) {
    const [config] = given as [{ text?: string; values?: unknown[]; callback?: (...end: unknown[]) => void }];
    const text = typeof config === "string" ? config : config.text;
    if (typeof config?.callback === "function") {
      const { callback } = config;
      config.callback = (error, result) => {
        seen.push([text, config.values, error instanceof Error ? "error" : "ok"]);
        callback(error, result);
      };
    } else {
      seen.push([text]);
    }
    return original.apply(this, given);
  };
  Object.defineProperty(pg.Client.prototype, "query", { ...inherited, value: wrapper });
  const pool = postgres.pool({ maxOpenConns: 1 });
  for (let n = 0; n < 4; n++) await pool.query("select $1::int as n", [n]);
  await expect(pool.query("select 1 / $1::int as n", [0])).rejects.toMatchObject({ code: "22012" });
  expect(seen).toEqual([
    ["select $1::int as n", ["0"], "ok"],
    ["select $1::int as n", ["1"], "ok"],
    ["select $1::int as n", ["2"], "ok"],
    ["select $1::int as n", ["3"], "ok"],
    ["select 1 / $1::int as n", ["0"], "error"],
  ]);
  const client = await pool.connect();
  await client.query("select 7 as seven");
  expect(seen.at(-1)).toEqual(["select 7 as seven"]);
  expect(await preparedOn(client)).toEqual(["select $1::int as n"]);
  client.release();
});

test("who wraps pg's query after the connection was made sees its statements all the same", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  const client = await pool.connect();
  const seen: unknown[] = [];
  const original = inherited.value as (this: pg.Client, ...given: unknown[]) => unknown;
  Object.defineProperty(pg.Client.prototype, "query", {
    ...inherited,
    value(this: pg.Client, ...given: unknown[]) {
      seen.push(given[0]);
      return original.apply(this, given);
    },
  });
  await client.query("select 1 as n");
  expect(seen).toEqual(["select 1 as n"]);
  client.release();
});
