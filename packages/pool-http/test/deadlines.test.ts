import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { HttpPool, type HttpTimeoutError } from "../src/index.ts";
import { deferred, faultServer, poolClosedTo, rejection, reply, turns } from "./support/fault-server.ts";
import { withFakeTime } from "./support/fake-time.ts";

test("a queued request rejects on its own deadline, not when the slot frees", async () => {
  const hold = deferred();
  await using server = await faultServer((socket) => void hold.promise.then(() => socket.write(reply(200))));
  await using pool = new HttpPool({ maxConnsPerHost: 1 });
  const first = pool.get(`${server.url}/first`);
  while (server.requests.length === 0) await turns(1);
  const error = await rejection<HttpTimeoutError>(pool.get(`${server.url}/queued`, { timeoutMs: 20 }));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_TIMEOUT", phase: "queue", limit: "timeoutMs" });
  expect(error.message).toMatch(
    /timed out while waiting for a connection after \d+ ms: timeoutMs \(20 ms\) passed; connections to this origin: 1 open, 0 idle/,
  );
  expect(pool.getStats()).toMatchObject({ queued: 0, in_flight: 1, timeout_count: 1 });
  expect(pool.getStats().timeouts_by_phase.queue).toBe(1);
  hold.resolve();
  expect((await first).status).toBe(200);
  expect(server.requests.length).toBe(1);
});

test("a silent server is cut at the deadline, and its connection closed", async () => {
  await using server = await faultServer(() => {});
  await using pool = new HttpPool();
  const error = await rejection<HttpTimeoutError>(pool.get(server.url, { timeoutMs: 20 }));
  expect(error).toMatchObject({ phase: "headers", limit: "timeoutMs" });
  expect(error.attempts.map((attempt) => attempt.error_code)).toEqual(["ERR_VG_HTTP_TIMEOUT"]);
  await server.socketsDownTo(0);
});

test("a dripping body is cut at the deadline", async () => {
  await using server = await faultServer((socket) => {
    socket.write("HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n");
    const drip = setInterval(() => socket.write("."), 2);
    socket.once("close", () => clearInterval(drip));
  });
  await using pool = new HttpPool();
  const error = await rejection<HttpTimeoutError>(pool.get(server.url, { timeoutMs: 50 }));
  expect(error).toMatchObject({ phase: "body", limit: "timeoutMs" });
  expect(error.attempts).toMatchObject([{ status: 200, error_code: "ERR_VG_HTTP_TIMEOUT" }]);
  await server.socketsDownTo(0);
});

test("a wait that would pass the deadline is not begun", async () => {
  await using server = await faultServer((socket, { line }) =>
    line.includes("/reset") ? socket.resetAndDestroy() : socket.write(reply(503, "busy")),
  );
  await using pool = new HttpPool({ retryBaseMs: 60_000, retryCapMs: 60_000, random: () => 0.9 });
  const error = await rejection(pool.get(`${server.url}/reset`));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_NETWORK", attempts: [{ number: 1 }] });
  expect(await (await pool.get(server.url)).text()).toBe("busy");
  expect(pool.getStats().retry_count).toBe(0);
});

test("an attempt that exceeds attemptTimeoutMs is retried within the deadline", async () => {
  await using server = await faultServer((socket, { number }) => {
    if (number > 0) socket.write(reply(200));
  });
  await using pool = new HttpPool({ attemptTimeoutMs: 20, retryBaseMs: 1 });
  const response = await pool.get(server.url);
  expect(response.attempts.map(({ status, error_code }) => status ?? error_code)).toEqual(["ERR_VG_HTTP_TIMEOUT", 200]);
  expect(pool.getStats()).toMatchObject({ timeout_count: 0, success_count: 1 });
  expect(pool.getStats().retries_by_cause.timeout).toBe(1);
});

test("queueTimeoutMs limits the wait for a connection and not the dial", async () => {
  const hold = deferred();
  await using server = await faultServer((socket) => void hold.promise.then(() => socket.write(reply(200))));
  await using pool = new HttpPool({ maxConnsPerHost: 1, queueTimeoutMs: 20 });
  const first = pool.get(server.url);
  const error = await rejection<HttpTimeoutError>(pool.get(server.url));
  expect(error).toMatchObject({ phase: "queue", limit: "queueTimeoutMs" });
  hold.resolve();
  await first;
});

test("a handshake that stalls is cut by tlsHandshakeTimeoutMs, as a TLS timeout, and retried", async () => {
  await using server = await faultServer(() => {});
  await using pool = new HttpPool({ tlsHandshakeTimeoutMs: 20, maxRetries: 1, retryBaseMs: 1 });
  const error = await rejection<HttpTimeoutError>(pool.post(server.url.replace("http:", "https:"), "x"));
  expect(error).toMatchObject({ phase: "tls", limit: "tlsHandshakeTimeoutMs" });
  expect(error.attempts.length).toBe(2);
  await server.socketsDownTo(0);
});

test("a dial that never ends is cut by connectTimeoutMs", async () => {
  await using pool = new HttpPool({ connectTimeoutMs: 20, maxRetries: 0, lookup: () => {} });
  const error = await rejection<HttpTimeoutError>(pool.get("http://stalled.test/"));
  expect(error).toMatchObject({ phase: "connect", limit: "connectTimeoutMs" });
  await poolClosedTo(pool, 0);
  expect(pool.getStats()).toMatchObject({ open_connections: 0, queued: 0 });
});

test("the deadline of a request that is dialling names the dial", async () => {
  await using pool = new HttpPool({ lookup: () => {} });
  expect(await rejection(pool.get("http://stalled.test/", { timeoutMs: 20 }))).toMatchObject({ phase: "connect" });
});

test("a dial outlives the one who asked for it and serves the next", async () => {
  let finish = () => {};
  await using server = await faultServer((socket) => socket.write(reply(200)));
  await using pool = new HttpPool({
    maxConnsPerHost: 1,
    lookup: (_host, _options, done) => {
      finish = () => done(null, [{ address: "127.0.0.1", family: 4 }]);
    },
  });
  const url = server.url.replace("127.0.0.1", "slow.test");
  await rejection(pool.get(url, { timeoutMs: 20 }));
  const next = pool.get(url);
  finish();
  expect((await next).status).toBe(200);
  expect(server.accepted()).toBe(1);
});

test("aborting rejects at once with the signal's reason in every phase, and counts as canceled", async () => {
  const reason = new Error("changed my mind");
  await using server = await faultServer((socket, { line }) => {
    if (line.includes("/body")) socket.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n1");
    if (line.includes("/fail")) socket.resetAndDestroy();
    abort.abort(reason);
  });
  await using pool = new HttpPool({ maxConnsPerHost: 1, retryBaseMs: 20_000, random: () => 0.9 });
  let abort = new AbortController();
  const aborted = (path: string) => {
    abort = new AbortController();
    return rejection(pool.get(server.url + path, { signal: abort.signal }));
  };
  expect(await aborted("/headers")).toBe(reason);
  expect(await aborted("/body")).toBe(reason);
  const backoff = aborted("/fail");
  expect(await backoff).toBe(reason);

  const blocker = pool.get(`${server.url}/blocker`, { timeoutMs: 200 });
  const queued = new AbortController();
  const waiting = pool.get(server.url, { signal: queued.signal });
  queued.abort(reason);
  expect(await rejection(waiting)).toBe(reason);
  expect(await rejection(pool.get(server.url, { signal: AbortSignal.abort(reason) }))).toBe(reason);
  await rejection(blocker);
  expect(pool.getStats()).toMatchObject({ canceled_count: 5, error_count: 1, queued: 0, in_flight: 0 });
});

test("a signal that aborts while the body is made keeps the request from being sent", async () => {
  await using server = await faultServer((socket) => socket.write(reply(200)));
  await using pool = new HttpPool();
  const reason = new Error("no longer needed");
  const abort = new AbortController();
  const body = () => {
    abort.abort(reason);
    return "x";
  };
  expect(await rejection(pool.put(server.url, body, { signal: abort.signal }))).toBe(reason);
  expect(server.requests).toEqual([]);
  expect(pool.getStats()).toMatchObject({ canceled_count: 1, in_flight: 0 });
});

test("nothing listens to a signal after its requests have ended", async () => {
  await using server = await faultServer((socket) => socket.write(reply(200)));
  await using pool = new HttpPool();
  const { signal } = new AbortController();
  let listeners = 0;
  const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)];
  signal.addEventListener = (...args: Parameters<typeof add>) => (listeners++, add(...args));
  signal.removeEventListener = (...args: Parameters<typeof remove>) => (listeners--, remove(...args));
  await pool.get(server.url, { signal });
  expect(listeners).toBe(0);
});

test("a full backlog that accepts nothing does not hold the deadline", async () => {
  const server = createServer(() => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  await using pool = new HttpPool({ maxRetries: 0 });
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  expect(await rejection(pool.get(url, { timeoutMs: 20 }))).toMatchObject({ code: "ERR_VG_HTTP_TIMEOUT" });
  pool.destroy();
  server.close();
});

test("attemptTimeoutMs does not run while an attempt waits for its connection", () =>
  withFakeTime(async (pass) => {
    await using server = await faultServer((socket) => {
      pass(30);
      socket.write(reply(200));
    });
    await using pool = new HttpPool({ maxConnsPerHost: 1, attemptTimeoutMs: 100, timeoutMs: 5000, maxRetries: 0 });
    const responses = await Promise.all([1, 2, 3, 4, 5, 6].map(() => pool.post(server.url, "x")));
    expect(responses.map(({ status }) => status)).toEqual(Array(6).fill(200));
  }));
