import { expect, test } from "vitest";
import {
  DbPool,
  PoolClosedError,
  PoolConfigError,
  dbPoolOptionsFromEnv,
  openDbPool,
  toPgBoss,
  type DbPoolOptions,
} from "../src/index.ts";
import { addressText } from "../src/dsn.ts";

function refusal(options: unknown): string {
  try {
    void new DbPool(options as DbPoolOptions);
  } catch (error) {
    expect(error).toBeInstanceOf(PoolConfigError);
    expect(error).toMatchObject({ code: "ERR_VG_DB_CONFIG" });
    return (error as Error).message;
  }
  throw new Error("nothing was refused");
}

test("the defaults are the documented ones", () => {
  const pool = new DbPool({ host: "db.example", port: 5433, user: "app", database: "orders" });
  expect(pool.name).toBe("db.example:5433/orders");
  expect(pool.getStats().max_open_connections).toBe(25);
  expect(pool.options).toMatchObject({
    max: 25,
    min: 0,
    idleTimeoutMillis: 5 * 60_000,
    connectionTimeoutMillis: 30_000,
    maxLifetimeSeconds: 30 * 60,
  });
});

test("a value that cannot be right is refused with its name, what was given, what is allowed and what to do", () => {
  expect(refusal({ name: "orders", maxOpenConns: 0 })).toBe(
    "Pool orders: options: maxOpenConns must be a whole number from 1 to 100000, got 0. 25 suits most services; the server's max_connections must hold the pools of all processes.",
  );
  expect(refusal({ maxIdleConns: 30 })).toContain("maxIdleConns must be a whole number from 0 to 25, got 30");
  expect(refusal({ maxOpenConns: 2, minIdleConns: 3 })).toContain("minIdleConns must be a whole number from 0 to 2");
  expect(refusal({ acquireTimeoutMs: 0 })).toContain(
    "acquireTimeoutMs must be a number above 0, got 0. Use Infinity for no limit.",
  );
  expect(refusal({ connMaxLifetimeMs: -1 })).toContain("connMaxLifetimeMs must be a number of at least 0, got -1");
  expect(refusal({ cancelTimeoutMs: -1 })).toContain("cancelTimeoutMs");
  expect(refusal({ connMaxLifetimeMs: "30m" })).toContain('got "30m"');
  expect(refusal({ logger: { info: () => undefined } })).toContain("debug(), info(), warn(), error()");
  expect(refusal({ discardOnQueryError: "yes" })).toContain("true or false");

  expect(refusal(null)).toContain("options must be an object");
});

test("an unknown option is refused, with the nearest known one", () => {
  expect(refusal({ maxOpenConn: 3 })).toContain('unknown option "maxOpenConn". Did you mean maxOpenConns?');
});

test("a name that is not near any option is not taken for one", () => {
  expect(refusal({ foo: 3 })).toContain('unknown option "foo". Known options: ');
});

test("an option under both of its names is refused", () => {
  expect(refusal({ max: 3, maxOpenConns: 3 })).toContain("maxOpenConns and max are two names of one option");
  expect(refusal({ dsn: "postgres://h/d", connectionString: "postgres://h/d" })).toContain("dsn and connectionString");
});

test("the default name leaves out the database where there is none", () => {
  const server = { host: "h", port: 5432, user: undefined, ssl: false, password: undefined };
  expect(addressText({ ...server, database: undefined })).toBe("h:5432");
  expect(addressText({ ...server, database: "d" })).toBe("h:5432/d");
});

test("a small maximum lowers the default of maxIdleConns; a large minimum raises it", () => {
  expect(() => new DbPool({ host: "h", maxOpenConns: 2 })).not.toThrow();
  expect(() => new DbPool({ host: "h", maxOpenConns: 20, minIdleConns: 10 })).not.toThrow();
});

test("a wrong DSN is refused with the form that is expected, and never shown", () => {
  const secret = "s3cr3t-pa55";
  const wrong: [string, string][] = [
    [`mysql://app:${secret}@host/db`, 'must begin with postgres:// or postgresql://, got "mysql://"'],
    [`app:${secret}@host/db`, "must begin with postgres://"],
    [`postgres://app:${secret}@host:notaport/db`, "cannot be parsed"],
    [`postgres://app:${secret}@host:99999/db`, "cannot be parsed"],
    [`postgres://app:${secret}#x@host/db`, "percent-encoded"],
    [`postgres://app:${secret}@a,b/db`, "one host"],
    [`postgres://app:${secret}@host/db?port=70000`, "port must be a whole number from 1 to 65535"],
    ["", "an empty string"],
  ];
  for (const [dsn, expected] of wrong) {
    const message = refusal({ dsn });
    expect(message).toContain(expected);
    expect(message).not.toContain(secret);
  }
  expect(refusal({ dsn: 5432 })).toContain("got a number");
});

test("a password that is not percent-encoded is refused, and is part of no name and no message", () => {
  for (const password of ["/s3cret", "12/s3cret", "12?s3cret", "12#s3cret", "1/2?s3cret", "12?x=s3cret"]) {
    for (const scheme of ["postgres://", "socket://"]) {
      const message = refusal({ dsn: `${scheme}user:${password}@127.0.0.1:1/db` });
      expect(message).toContain('"/" as %2F');
      expect(message).not.toContain("s3cret");
    }
  }
  expect(new DbPool({ dsn: "postgres://user:12%2Fs3c%40ret@127.0.0.1:1/db" }).name).toBe("127.0.0.1:1/db");
});

test("a parameter of the DSN that nobody reads is refused, with what to do instead", () => {
  expect(refusal({ dsn: "postgres://h/d?query_timeout=50" })).toContain("queryTimeoutMs");
  expect(refusal({ dsn: "postgres://h/d?sslmode=disable&pool_max_conns=3" })).toBe(
    'Pool DbPool: options: dsn has a parameter "pool_max_conns", which pg does not read. Give the option maxOpenConns instead.',
  );
  expect(refusal({ dsn: "postgres://h/d?max=3" })).toContain("maxOpenConns");
  expect(refusal({ dsn: "postgres://h/d?colour=red" })).toContain("options, given beside the dsn");
  const usual =
    "sslmode=disable&application_name=a&options=-c%20geqo%3Doff&connect_timeout=5&keepalives_idle=9&target_session_attrs=any&statement_timeout=5";
  expect(() => new DbPool({ dsn: `postgres://h/d?${usual}` })).not.toThrow();
});

test("a parameter that would lead elsewhere if it were read is refused, and an address in a value is not", () => {
  expect(refusal({ dsn: "postgres://h/?dbname=orders" })).toContain("Put the database behind the host");
  expect(refusal({ dsn: "postgres://h/d?require_auth=scram-sha-256" })).toContain("pg_hba.conf");
  expect(refusal({ dsn: "postgres://h/d?constructor=1" })).toContain("options, given beside the dsn");
  expect(refusal({ dsn: "postgres://h/d?x=1@y" })).toContain('holds an "@" behind the host');
  expect(() => new DbPool({ dsn: "postgres://h/d?application_name=svc@host" })).not.toThrow();
});

test("a limit beyond what a timer holds is none, and does not stand against pipelining", async () => {
  const warned: string[] = [];
  const ignore = (): void => {};
  const logger = { debug: ignore, info: ignore, error: ignore, warn: (_: object, text: string) => warned.push(text) };
  const pool = new DbPool({ queryTimeoutMs: 3e9, pipeline: true, logger });
  expect(warned).toEqual([]);
  await pool.close();
});

test("pg's own options are refused when they are of a type that pg cannot use", () => {
  const wrong: [options: Record<string, unknown>, message: string][] = [
    [{ application_name: 5 }, "application_name must be a string, got 5."],
    [{ options: 4 }, "options must be a string, got 4."],
    [{ stream: 4 }, "stream must be a socket, or a function that makes one, got 4."],
    [{ ssl: "yes" }, 'ssl must be true, false or an object of TLS options, got "yes".'],
    [
      { statement_timeout: "soon" },
      'statement_timeout must be a number of milliseconds of at least 0 (none), got "soon".',
    ],
    [{ lock_timeout: "x" }, "lock_timeout must be a number of milliseconds"],
    [{ types: 5 }, "types must be an object with getTypeParser(), got 5."],
    [{ password: 90125 }, "password must be a string, or a function that gives one, got a number."],
    [{ keepAlive: "no" }, 'keepAlive must be true or false, got "no".'],
    [{ port: "abc" }, 'port must be a whole number from 1 to 65535, got "abc".'],
    [{ user: {} }, "user must be a string, got an object."],
  ];
  for (const [options, message] of wrong) expect(refusal(options)).toContain(message);
  expect(
    () => new DbPool({ host: "h", port: "5432" as never, statement_timeout: false, ssl: "true" as never }),
  ).not.toThrow();
});

test("an option of pipelining without pipelining is refused, and a pool's options make a second pool", () => {
  expect(refusal({ pipelineDepth: 4 })).toContain("pipelineDepth has no effect without pipeline. Give pipeline: true");
  const first = new DbPool({ host: "h", pipeline: true, pipelineDepth: 4, pipelineMaxAgeMs: 50 });
  expect(() => new DbPool({ ...first.options })).not.toThrow();
  expect(() => new DbPool({ host: "h", pipeline: false, pipelineDepth: 4 })).not.toThrow();
});

test("pipelining that a queryTimeoutMs makes idle is told of, at construction and when it is configured", () => {
  const said: string[] = [];
  const say = (_fields: object, message: string): void => void said.push(message);
  const logger = { debug: say, info: say, warn: say, error: say };
  const pool = new DbPool({ host: "h", pipeline: true, queryTimeoutMs: 500, logger });
  expect(said).toEqual([expect.stringContaining("pipeline has no effect beside queryTimeoutMs")]);
  pool.configure({ queryTimeoutMs: Infinity });
  pool.configure({ maxOpenConns: 3 });
  expect(said).toHaveLength(1);
  pool.configure({ queryTimeoutMs: 50 });
  expect(said).toHaveLength(2);
});

test("a closed pool cannot be configured or reset, and says that it is closed", async () => {
  const pool = new DbPool({ host: "h", name: "orders" });
  await pool.close();
  for (const call of [() => pool.configure({ maxOpenConns: 3 }), () => pool.reset()]) {
    expect(call).toThrow(PoolClosedError);
    expect(call).toThrow(
      "Pool orders: it is closing or closed. Cannot use a pool after calling end on the pool, close() or destroy().",
    );
  }
});

test("toPgBoss refuses what cannot run a query", () => {
  expect(() => toPgBoss(5 as never)).toThrow(PoolConfigError);
  expect(() => toPgBoss(undefined as never)).toThrow("takes a DbPool, a transaction or a connection, got undefined");
});

test("openDbPool refuses bad options as a rejection", async () => {
  await expect(openDbPool({ dsn: "http://example" })).rejects.toThrow(PoolConfigError);
});

test("the guide's environment variables are read, and garbage is refused", () => {
  expect(
    dbPoolOptionsFromEnv({
      POSTGRES_DSN: "postgres://user:pass@localhost:5432/db",
      DB_MAX_OPEN_CONNS: "50",
      DB_MAX_IDLE_CONNS: "10",
    }),
  ).toEqual({ dsn: "postgres://user:pass@localhost:5432/db", maxOpenConns: 50, maxIdleConns: 10 });
  expect(dbPoolOptionsFromEnv({ DB_MAX_OPEN_CONNS: " " })).toEqual({});
  expect(() => dbPoolOptionsFromEnv({ DB_MAX_OPEN_CONNS: "many" })).toThrow(
    'DB_MAX_OPEN_CONNS must be a whole number from 1 to 100000, got "many"',
  );
});

test("limits of a single call are checked as well", async () => {
  const pool = new DbPool({ host: "h" });
  await expect(pool.query("select 1", [], { timeoutMs: 0 })).rejects.toThrow(
    "timeoutMs must be a number of milliseconds above 0",
  );
  await expect(pool.acquire({ timeoutMs: Number.NaN })).rejects.toThrow(PoolConfigError);
  await expect(pool.close({ deadlineMs: -1 })).rejects.toThrow(PoolConfigError);
  await pool.close();
});

test("an option that a call does not have is refused, and so is a value that cannot be right", async () => {
  const pool = new DbPool({ host: "h" });
  const work = async (): Promise<void> => undefined;
  const loose = pool as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
  const wrong: [method: string, args: unknown[], message: string][] = [
    ["query", ["select 1", [], { timeout: 50 }], 'query(): unknown option "timeout". Did you mean timeoutMs?'],
    ["queryRow", ["select 1", [], { signal: 5 }], "query(): signal must be an AbortSignal, got 5"],
    ["exec", ["select 1", [], null], "options must be an object, got null"],
    ["query", ["select 1", { timeoutMs: 100 }], "values must be an array, got an object"],
    ["queryRow", [undefined], "takes SQL text or a config object with text, got undefined"],
    ["exec", [null], "got null"],
    [
      "exec",
      [{ text: "select 1", query_timeout: "soon" }],
      'query_timeout must be a number of milliseconds of at least 0 (none), got "soon"',
    ],
    ["acquire", [null], "acquire(): options must be an object, got null"],
    ["acquire", [{ timeout: 5 }], "Did you mean timeoutMs?"],
    ["begin", [null], "begin(): options must be an object, got null"],
    ["begin", [{ readonly: true }], "Did you mean readOnly?"],
    ["begin", [{ readOnly: "yes" }], 'readOnly must be true or false, got "yes"'],
    ["begin", [{ timeoutMs: 0 }], "timeoutMs must be a number of milliseconds above 0, got 0"],
    ["transaction", [work, { isolationLevel: "serializable" }], 'unknown option "isolationLevel"'],
    ["transaction", [work, { retry: 3 }], "Did you mean retries?"],
    ["transaction", [undefined], "takes an async function first, got undefined"],
    ["close", [null], "close(): options must be an object, got null"],
    ["close", [{ deadline: 5 }], "Did you mean deadlineMs?"],
  ];
  for (const [method, args, message] of wrong) {
    const error = await loose[method]?.apply(pool, args).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(PoolConfigError);
    expect((error as Error).message).toContain(message);
  }
  expect(await loose["health"]?.call(pool, null)).toMatchObject({
    ok: false,
    error: expect.stringContaining("health(): options must be an object") as string,
  });
  expect(pool.getStats()).toMatchObject({ acquire_count: 0, connecting: 0 });
  await pool.close();
});
