/** When a connection's life ends: its own time, the server's word, and connections that are opened ahead. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { HttpPool, type HttpPoolOptions } from "../src/index.ts";
import {
  closedPort,
  deferred,
  faultServer,
  okServer,
  poolClosedTo,
  rejection,
  reply,
  turns,
} from "./support/fault-server.ts";
import { http2Server } from "./support/http2-server.ts";

const ok = (headers: Record<string, string> = {}) => faultServer((socket) => socket.write(reply(200, "ok", headers)));
/** A clock that stands still until it is told otherwise. */
const clockAt = (ms: number) => {
  const clock = { ms, now: () => clock.ms };
  return clock;
};

test("an idle connection ends with its life, whatever its idle time", async () => {
  await using server = await okServer();
  await using pool = new HttpPool({ maxConnLifetimeMs: 20 });
  await pool.get(server.url);
  await server.socketsDownTo(0);
  await turns(2);
  expect(pool.getStats()).toMatchObject({ open_connections: 0, idle_connections: 0 });
});

test("a connection whose life ends under a request ends after it", async () => {
  const hold = deferred();
  await using server = await faultServer((socket, { line }) => {
    if (line.includes("/hold")) void hold.promise.then(() => socket.write(reply(200)));
    else socket.write(reply(200));
  });
  const clock = clockAt(0);
  await using pool = new HttpPool({ maxConnLifetimeMs: 1000, clock, random: () => 0 });
  const held = pool.get(`${server.url}/hold`);
  while (server.requests.length < 1) await turns(1);
  clock.ms = 1000;
  hold.resolve();
  expect((await held).status).toBe(200);
  await server.socketsDownTo(0);
  await pool.get(server.url);
  clock.ms = 1999;
  await pool.get(server.url);
  expect(pool.getStats().connect_count).toBe(2);
});

test("a waiter is served by a new connection where the life of the old one has ended", async () => {
  await using server = await okServer();
  const clock = clockAt(0);
  await using pool = new HttpPool({ maxConnLifetimeMs: 10, maxConnsPerHost: 1, clock, random: () => 0 });
  const first = pool.get(server.url);
  const second = pool.get(server.url);
  await first.then(() => (clock.ms = 5));
  await second;
  clock.ms = 10;
  expect((await Promise.all([pool.get(server.url), pool.get(server.url)])).map(({ status }) => status)).toEqual([
    200, 200,
  ]);
  expect(server.accepted()).toBe(2);
});

test("connections that were made together end at different times, none of them late", async () => {
  await using server = await okServer();
  const clock = clockAt(0);
  const random = [0, 0.5, 0.999];
  let drawn = 0;
  const options: HttpPoolOptions = {
    maxConnLifetimeMs: 1000,
    clock,
    random: () => random[drawn++] ?? 0,
    maxConnsPerHost: 3,
  };
  await using pool = new HttpPool(options);
  const three = () => Promise.all([1, 2, 3].map(() => pool.get(server.url)));
  await three();
  expect(pool.getStats().connect_count).toBe(3);
  for (const [ms, connects] of [
    [899, 3],
    [901, 4],
    [951, 5],
    [999, 5],
    [1000, 6],
  ] as const) {
    clock.ms = ms;
    await three();
    expect([ms, pool.getStats().connect_count]).toEqual([ms, connects]);
  }
});

test.each<[string, number, number]>([
  ["timeout=5", 2999, 3001],
  ["timeout=5, max=100", 2999, 3001],
  ["max=100,timeout=10", 7999, 8001],
  ['Timeout="3"', 1499, 1501],
  ["timeout=1", 499, 501],
  ["timeout=1000", 89_999, 90_001],
  ["max=5", 89_999, 90_001],
  ["timeout=soon", 89_999, 90_001],
])("Keep-Alive: %s keeps an idle connection for %i ms and not for %i ms", async (hint, kept, gone) => {
  await using server = await ok({ "keep-alive": hint });
  const clock = clockAt(0);
  await using pool = new HttpPool({ clock });
  await pool.get(server.url);
  clock.ms += kept;
  await pool.get(server.url);
  expect(server.accepted()).toBe(1);
  clock.ms += gone;
  await pool.get(server.url);
  expect(server.accepted()).toBe(2);
});

test("Keep-Alive: timeout=0 keeps none, and a hint holds until the next response says otherwise", async () => {
  const hints = ["timeout=0", "timeout=4", undefined];
  await using server = await faultServer((socket, { number }) => {
    const hint = hints[number];
    socket.write(reply(200, "ok", hint === undefined ? {} : { "keep-alive": hint }));
  });
  const clock = clockAt(0);
  await using pool = new HttpPool({ clock });
  await pool.get(server.url);
  await server.socketsDownTo(0);
  await pool.get(server.url);
  clock.ms += 1999;
  await pool.get(server.url);
  clock.ms += 50_000;
  await pool.get(server.url);
  expect(server.accepted()).toBe(2);
});

test("a request after a long pause finds no connection that is past its time, though no timer has run", async () => {
  await using server = await okServer();
  const clock = clockAt(0);
  await using pool = new HttpPool({ clock });
  await pool.get(server.url);
  clock.ms = 90_000;
  await pool.post(server.url, "x");
  expect([server.accepted(), pool.getStats().open_connections]).toEqual([2, 1]);
});

test("preconnect opens what is missing, and requests find it", async () => {
  await using server = await okServer();
  await using pool = new HttpPool();
  expect(await pool.preconnect(server.url, 3)).toBe(3);
  expect(await pool.preconnect(`${server.url}/any?path`, 2)).toBe(3);
  expect(pool.getStats()).toMatchObject({ open_connections: 3, idle_connections: 3, connect_count: 3 });
  await Promise.all([1, 2, 3].map(() => pool.get(server.url)));
  expect(server.accepted()).toBe(3);
  expect(await pool.preconnect(server.url)).toBe(3);
});

test("preconnect keeps to the limits and closes nothing for itself", async () => {
  await using one = await okServer();
  await using two = await okServer();
  await using pool = new HttpPool({ maxConnsPerHost: 4, maxTotalConns: 5, maxIdleConnsPerHost: 3, maxIdleConns: 5 });
  expect(await pool.preconnect(one.url, 100)).toBe(4);
  await turns(3);
  expect(pool.getStats()).toMatchObject({ open_connections: 3, idle_connections: 3 });
  expect(await pool.preconnect(two.url, 100)).toBe(2);
  expect(pool.getStats()).toMatchObject({ open_connections: 5, idle_connections: 5 });
  await using three = await okServer();
  expect((await rejection(pool.preconnect(three.url, 1))).message).toContain("maxTotalConns leaves no room");
  expect((await pool.get(three.url)).status).toBe(200);
});

test.each([0, 1])(
  "preconnect dials once for each that is missing, though maxIdleConns: %i keeps fewer",
  async (idle) => {
    await using server = await okServer();
    let lookups = 0;
    // No two are connected in one turn.
    const lookup: NonNullable<HttpPoolOptions["lookup"]> = (_host, _options, done) =>
      void turns(10 * ++lookups).then(() => done(null, [{ address: "127.0.0.1", family: 4 }]));
    await using pool = new HttpPool({ lookup, maxIdleConns: idle });
    // The surplus goes at the end of its turn, so the last one is seen.
    expect(await pool.preconnect(`http://api.example.test:${server.port}`, 3)).toBe(idle + 1);
    await poolClosedTo(pool, idle);
    expect(pool.getStats()).toMatchObject({ connect_count: 3, idle_connections: idle });
  },
);

test("preconnect dials no server for ever that hangs up on everybody", async () => {
  await using server = await faultServer(
    () => {},
    (socket) => socket.end(),
  );
  await using pool = new HttpPool();
  await pool.preconnect(server.url, 3).catch(() => {});
  await poolClosedTo(pool, 0);
  await turns(20);
  expect(pool.getStats().connect_count).toBe(3);
});

test("preconnect waits for dials that are under way, and shares them with requests", async () => {
  await using server = await okServer();
  await using pool = new HttpPool({ maxConnsPerHost: 1 });
  const request = pool.get(server.url);
  expect(await pool.preconnect(server.url, 5)).toBe(1);
  await request;
  expect(server.accepted()).toBe(1);
});

test("preconnect rejects where nothing is open, with the reason", async () => {
  await using pool = new HttpPool();
  const url = `http://127.0.0.1:${await closedPort()}`;
  const error = await rejection(pool.preconnect(url, 2));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_CONNECT", request: `preconnect to ${url}` });
  expect(error.message).toContain("ECONNREFUSED");
  await poolClosedTo(pool, 0);
  expect(pool.getStats()).toMatchObject({ open_connections: 0, connect_failure_count: 2, request_count: 0 });
});

test("preconnect ends at its deadline and with its signal; what is dialled goes on", async () => {
  const resolved = deferred();
  const lookup: NonNullable<HttpPoolOptions["lookup"]> = (_host, _options, done) =>
    void resolved.promise.then(() => done(null, [{ address: "127.0.0.1", family: 4 }]));
  await using server = await okServer();
  await using pool = new HttpPool({ lookup });
  const url = `http://api.example.test:${server.port}`;
  const late = await rejection(pool.preconnect(url, 1, { timeoutMs: 20 }));
  expect(late).toMatchObject({ code: "ERR_VG_HTTP_TIMEOUT", limit: "timeoutMs" });
  const abort = new AbortController();
  const given = rejection(pool.preconnect(url, 2, { signal: abort.signal }));
  abort.abort(new Error("never mind"));
  expect((await given).message).toBe("never mind");
  expect((await rejection(pool.preconnect(url, 2, { signal: abort.signal }))).message).toBe("never mind");
  resolved.resolve();
  while (pool.getStats().idle_connections < 2) await turns(1);
  await pool.get(url);
  expect(server.accepted()).toBe(2);
});

test.each(["off", "on"])("connections that nobody used do not keep the process alive (http2: %s)", async (http2) => {
  await using server = http2 === "off" ? await okServer() : await http2Server(() => {});
  const source = new URL("../src/index.ts", import.meta.url).href;
  const script = `
    const { HttpPool } = await import(${JSON.stringify(source)});
    const pool = new HttpPool({ http2: ${JSON.stringify(http2)} });
    const url = ${JSON.stringify(server.url)};
    const abort = new AbortController();
    // It has its connection and waits for its body.
    const body = () => new Promise(() => setImmediate(() => abort.abort()));
    await pool.post(url, body, { signal: abort.signal }).catch(() => {});
    console.log(await pool.preconnect(url, 2));`;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--conditions=@vg/source", "--input-type=module", "-e", script],
    { timeout: 20_000 },
  );
  expect(stdout).toBe("2\n");
});

test.each<[unknown[], string]>([
  [["nonsense"], "preconnect: the URL must be absolute"],
  [["http://a.test", 0], "preconnect: count must be a whole number of at least 1"],
  [["http://a.test", 1.5], "preconnect: count must be a whole number"],
  [["http://a.test", 1, { timeoutMs: 0 }], "preconnect: timeoutMs must be a number of milliseconds"],
  [["http://a.test", 1, { signal: {} }], "preconnect: signal must be an AbortSignal"],
])("preconnect(...%j) is refused", async (args, message) => {
  await using pool = new HttpPool();
  const error = await rejection(pool.preconnect(...(args as Parameters<HttpPool["preconnect"]>)));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_REQUEST" });
  expect(error.message).toContain(message);
});

test("a closed pool opens nothing ahead, and its end ends the wait", async () => {
  const pool = new HttpPool({ lookup: () => {} });
  const waiting = rejection(pool.preconnect("http://api.example.test", 3));
  await turns(1);
  await pool.close();
  expect((await waiting).message).toContain("the pool was closed meanwhile");
  expect(await rejection(pool.preconnect("http://api.example.test"))).toMatchObject({ code: "ERR_VG_HTTP_CLOSED" });
});

test("closeIdleConnections of one origin leaves the others alone", async () => {
  await using one = await okServer();
  await using two = await okServer();
  await using pool = new HttpPool();
  await Promise.all([pool.preconnect(one.url, 2), pool.preconnect(two.url, 3)]);
  expect(pool.closeIdleConnections(`${one.url}/whatever`)).toBe(2);
  await one.socketsDownTo(0);
  expect(pool.getStats()).toMatchObject({ open_connections: 3, idle_connections: 3 });
  expect(() => pool.closeIdleConnections("nonsense")).toThrow("closeIdleConnections: the URL must be absolute");
  expect(pool.closeIdleConnections()).toBe(3);
});
