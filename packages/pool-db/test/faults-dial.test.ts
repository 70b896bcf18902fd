import pg from "pg";
import { expect, test } from "vitest";
import { AcquireTimeoutError, ConnectError } from "../src/index.ts";
import { deafPort } from "./deaf-port.ts";
import { outcome, useFaults } from "./fault-support.ts";
import { until } from "./support.ts";

const faults = useFaults();

test("dials that hang cost each caller its limit and the pool nothing: their places come back by themselves", async () => {
  const proxy = await faults.proxy();
  proxy.onLink = (link) => link.blackHole();
  const pool = faults.pool({ through: proxy, maxOpenConns: 3, connectTimeoutMs: 400 });
  const limits = { timeoutMs: 100 };
  const errors = await Promise.all(Array.from({ length: 10 }, () => outcome(pool.query("select 1", [], limits))));
  for (const error of errors) expect(error).toBeInstanceOf(AcquireTimeoutError);
  expect(pool.getStats()).toMatchObject({ connecting: 3, pending: 0, timeout_count: 10 });
  await until("the dials are given up", () => pool.getStats().connecting === 0);
  await until("their sockets are closed", () => proxy.open === 0);
});

test("a dial that hangs before TCP has answered is given up as any other", async () => {
  await using hole = await deafPort();
  const pool = faults.pool({ port: hole.port, maxOpenConns: 2, connectTimeoutMs: 200, recovers: false });
  expect(await outcome(pool.query("select 1", [], { timeoutMs: 50 }))).toBeInstanceOf(AcquireTimeoutError);
  const error = await outcome(pool.query("select 1", [], { timeoutMs: 5_000 }));
  expect(error).toBeInstanceOf(ConnectError);
  expect((error as Error).message).toContain("no connection within 200 ms (connectTimeoutMs)");
});

test("a TLS handshake that is never answered is given up, and its socket is closed", async () => {
  const proxy = await faults.proxy();
  proxy.onLink = (link) => {
    link.blackHole();
    link.toClient.inject(Buffer.from("S"));
  };
  const pool = faults.pool({
    through: proxy,
    maxOpenConns: 2,
    connectTimeoutMs: 200,
    ssl: { rejectUnauthorized: false },
    recovers: false,
  });
  expect(await outcome(pool.query("select 1", [], { timeoutMs: 50 }))).toBeInstanceOf(AcquireTimeoutError);
  expect(await outcome(pool.query("select 1", [], { timeoutMs: 5_000 }))).toBeInstanceOf(ConnectError);
  await until("the sockets are closed", () => proxy.open === 0);
  expect(proxy.accepted).toBeGreaterThan(0);
});

test.each([
  ["refuses TLS", "N", "does not support SSL"],
  ["answers the request for TLS with an error", "E", "error establishing an SSL connection"],
])("a server that %s is a prompt error that says so", async (_what, reply, message) => {
  const proxy = await faults.proxy();
  proxy.onLink = (link) => {
    link.toServer.hold();
    link.toClient.inject(Buffer.from(reply));
  };
  const pool = faults.pool({ through: proxy, ssl: { rejectUnauthorized: false }, recovers: false });
  const error = await outcome(pool.query("select 1"));
  expect(error).toBeInstanceOf(ConnectError);
  expect((error as Error).message).toContain(message);
});

test("a login that is slow serves its caller late, and one that has left leaves it to the next", async () => {
  const proxy = await faults.proxy();
  const logins: (() => void)[] = [];
  proxy.onLink = (link) => {
    void link.toClient.stopAt("Authentication", { keep: 0 }).then(() => logins.push(() => link.toClient.resume()));
  };
  const pool = faults.pool({ through: proxy, maxOpenConns: 1 });
  expect(await outcome(pool.query("select 1", [], { timeoutMs: 50 }))).toBeInstanceOf(AcquireTimeoutError);
  const next = pool.queryRow("select 2 as n");
  await until("the login has begun", () => logins.length === 1);
  logins[0]?.();
  expect(await next).toEqual({ n: 2 });
  expect(pool.getStats()).toMatchObject({ create_count: 1, create_error_count: 0 });
});

test.each(["Authentication", "ParameterStatus", "BackendKeyData", "ReadyForQuery"] as const)(
  "a login that is cut off within %s, by a reset, an end, or silence, is a failed dial",
  async (message) => {
    const proxy = await faults.proxy();
    const pool = faults.pool({ through: proxy, maxOpenConns: 1, connectTimeoutMs: 200 });
    for (const end of ["reset", "halfClose", "close", "blackHole"] as const) {
      proxy.onLink = (link) => void link.toClient.stopAt(message, { keep: 3 }).then(() => link[end]());
      expect(await outcome(pool.query("select 1", [], { timeoutMs: 5_000 }))).toBeInstanceOf(ConnectError);
      await until("the socket is closed", () => proxy.open === 0);
    }
    expect(pool.getStats()).toMatchObject({ open_connections: 0, connecting: 0, create_error_count: 4 });
  },
);

test("a server that talks something else is a failed dial, at once or at the dial's limit", async () => {
  const proxy = await faults.proxy();
  const pool = faults.pool({ through: proxy, maxOpenConns: 1, connectTimeoutMs: 200 });
  for (const text of ["HTTP/1.1 400 Bad Request\r\n\r\n", "SSH-2.0-OpenSSH_9.6\r\n", "\0\0\0\0\0\0\0\0\0\0\0\0"]) {
    proxy.onLink = (link) => {
      link.toServer.hold();
      link.toClient.inject(Buffer.from(text));
    };
    expect(await outcome(pool.query("select 1", [], { timeoutMs: 5_000 }))).toBeInstanceOf(ConnectError);
    await until("the socket is closed", () => proxy.open === 0);
  }
});

test("a refused login whose peer never closes leaves no socket behind", async () => {
  const proxy = await faults.proxy();
  proxy.onLink = (link) => {
    link.neverCloses = true;
  };
  const pool = faults.pool({ through: proxy, password: "wrong", maxOpenConns: 2, recovers: false });
  for (let n = 0; n < 3; n++) {
    const error = await outcome(pool.query("select 1"));
    expect(error).toBeInstanceOf(ConnectError);
    expect((error as Error).cause).toMatchObject({ code: "28P01" });
  }
  await until("the sockets are closed", () => proxy.open === 0);
});

test("a password that never comes is given up with its dial", async () => {
  let hangs = true;
  const { password } = faults.postgres.server;
  const pool = faults.pool({
    password: () => (hangs ? new Promise<string>(() => undefined) : password),
    connectTimeoutMs: 200,
    maxOpenConns: 2,
  });
  const error = await outcome(pool.query("select 1", [], { timeoutMs: 5_000 }));
  expect(error).toBeInstanceOf(ConnectError);
  hangs = false;
});

test("a password that changes on the server is asked for at the next dial, and what is open goes on", async () => {
  await faults.postgres.watch("create role rotated login password 'spring'");
  let password = "spring";
  const pool = faults.pool({ user: "rotated", password: () => password, maxOpenConns: 2 });
  const open = await pool.acquire();
  await faults.postgres.watch("alter role rotated password 'summer'");
  // Not yet told of it, the pool cannot dial, but serves from what is open.
  const behind = pool.queryRow("select 1 as n");
  await until("the old password is refused", () => pool.getStats().create_error_count > 0);
  open.release();
  expect(await behind).toEqual({ n: 1 });
  password = "summer";
});

test("a hook for new connections that never ends is given up with its dial", async () => {
  let hangs = true;
  const pool = faults.pool({
    onConnect: (client) => (hangs ? client.query("select pg_sleep(600)") : undefined),
    connectTimeoutMs: 200,
    maxOpenConns: 2,
  });
  expect(await outcome(pool.query("select 1", [], { timeoutMs: 5_000 }))).toBeInstanceOf(ConnectError);
  hangs = false;
});

test("a port that refuses and then listens again is found within a pause between dials", async () => {
  const proxy = await faults.proxy();
  proxy.refuse();
  const pool = faults.pool({ through: proxy, maxOpenConns: 4 });
  const errors = await Promise.all(Array.from({ length: 20 }, () => outcome(pool.query("select 1"))));
  for (const error of errors) expect((error as Error).message).toContain("ECONNREFUSED");
  await proxy.listen();
  expect(await pool.queryRow("select 1 as n", [], { timeoutMs: 5_000 })).toEqual({ n: 1 });
});

test("a name that does not resolve is a prompt error that says so, for every caller", async () => {
  const pool = faults.pool({ host: "no-such-host.invalid", recovers: false, maxOpenConns: 4 });
  const errors = await Promise.all(Array.from({ length: 20 }, () => outcome(pool.query("select 1"))));
  for (const error of errors) {
    expect(error).toBeInstanceOf(ConnectError);
    expect((error as Error).message).toMatch(/getaddrinfo (ENOTFOUND|EAI_AGAIN) no-such-host\.invalid/);
  }
  expect(pool.getStats().create_error_count).toBeLessThanOrEqual(4);
});

test("a server whose name resolves again is found without a new pool", async () => {
  let host = "no-such-host.invalid";
  const { port } = faults.postgres.server;
  class MovingClient extends pg.Client {
    constructor(config?: pg.ClientConfig) {
      super({ ...config, host, port });
    }
  }
  const pool = faults.pool({ Client: MovingClient });
  expect(await outcome(pool.query("select 1"))).toBeInstanceOf(ConnectError);
  ({ host } = faults.postgres.server);
  expect(await pool.queryRow("select 1 as n", [], { timeoutMs: 10_000 })).toEqual({ n: 1 });
});
