/** Where the time went, in responses and in errors; the clock is the test's. */
import { expect, test } from "vitest";
import { HttpPool, type HttpAttempt, type HttpPhase, type HttpPhaseTimes, type HttpPoolError } from "../src/index.ts";
import { describeTimes } from "../src/exchange/breakdown.ts";
import { Journal } from "../src/exchange/journal.ts";
import { resolveTarget } from "../src/exchange/target.ts";
import { StatsRecorder } from "../src/stats.ts";
import type { Waiter } from "../src/transport/transport.ts";
import { closedPort, deferred, faultServer, rejection, reply } from "./support/fault-server.ts";

const PARTS = ["queue_ms", "connect_ms", "tls_ms", "headers_ms", "body_ms"] as const;
const sumOf = (attempt: HttpAttempt) => PARTS.reduce((sum, name) => sum + attempt[name], 0);
const totalOf = ({ total_ms, backoff_ms, ...parts }: HttpPhaseTimes) => ({
  total: total_ms,
  sum: PARTS.reduce((sum, name) => sum + parts[name], backoff_ms),
});

/** Time passes as the server says. */
function clocked(options: object = {}) {
  const time = { now: 1000 };
  return { time, pool: new HttpPool({ name: "upstream", clock: { now: () => time.now }, ...options }) };
}

test("an attempt's time is divided into queue, headers and body", async () => {
  const { pool, time } = clocked({ maxConnsPerHost: 1 });
  await using server = await faultServer((socket, { number }) => {
    time.now += 20;
    socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n");
    setImmediate(() =>
      setImmediate(() => {
        time.now += number === 0 ? 300 : 5;
        socket.write("ok");
      }),
    );
  });
  const [first, second] = await Promise.all([pool.get(server.url), pool.get(server.url)]);
  const none = { backoff_ms: 0, connect_ms: 0, tls_ms: 0, queue_ms: 0, sent: true };
  expect(first.attempts).toMatchObject([{ ...none, time_ms: 320, headers_ms: 20, body_ms: 300, reused: false }]);
  expect(second.attempts).toMatchObject([
    { ...none, time_ms: 345, queue_ms: 320, headers_ms: 20, body_ms: 5, reused: true },
  ]);
  expect(second.timings).toEqual({
    queue_ms: 320,
    connect_ms: 0,
    tls_ms: 0,
    headers_ms: 20,
    body_ms: 5,
    backoff_ms: 0,
    first_byte_ms: 340,
    total_ms: 345,
  });
  await pool.close();
});

test("the times of all attempts and of the waits between them add up to the whole", async () => {
  await using server = await faultServer((socket, { number }) =>
    number < 2 ? socket.resetAndDestroy() : socket.write(reply(200)),
  );
  await using pool = new HttpPool({ retryBaseMs: 4, random: () => 0.9 });
  const { attempts, timings } = await pool.get(server.url);
  expect(attempts.length).toBe(3);
  for (const attempt of attempts) expect(sumOf(attempt)).toBeCloseTo(attempt.time_ms, 6);
  expect(attempts[0]?.backoff_ms).toBe(0);
  expect(attempts[1]?.backoff_ms).toBeGreaterThan(2);
  expect(timings.backoff_ms).toBe((attempts[1]?.backoff_ms ?? 0) + (attempts[2]?.backoff_ms ?? 0));
  const { total, sum } = totalOf(timings);
  expect(sum).toBeGreaterThan(0.9 * total);
  expect(sum).toBeLessThanOrEqual(total + 1e-6);
});

test("a dial that fails is time of the dial, not of the queue", async () => {
  const { pool, time } = clocked({
    maxRetries: 0,
    lookup: (_host: string, _options: object, done: (error: Error, address: string) => void) => {
      time.now += 40;
      done(Object.assign(new Error("no such host"), { code: "ENOTFOUND" }), "");
    },
  });
  const error = await rejection<HttpPoolError>(pool.get("http://nowhere.test/"));
  expect(error.attempts).toMatchObject([{ time_ms: 40, queue_ms: 0, connect_ms: 40, headers_ms: 0, sent: false }]);
  expect(error.timings).toMatchObject({ connect_ms: 40, total_ms: 40 });
  expect(error.message).toContain("Attempts: ENOTFOUND after 40 ms (connect).");
  expect([error.sent, error.retryable]).toEqual([false, true]);
});

/** What a request keeps of its times, by itself. */
function journaled() {
  const time = { now: 1000 };
  const options = { name: "upstream", clock: { now: () => time.now }, logger: undefined };
  const about = { method: "GET", target: resolveTarget("http://a.test/", undefined) };
  const journal = new Journal({ options, recorder: new StatsRecorder() }, about);
  const fail = (phase: HttpPhase, dial: { startedAt: number; connectedAt: number | undefined }) => {
    const failure = { reason: "timeout", phase, code: "ERR_VG_HTTP_TIMEOUT", detail: "", sent: false } as const;
    journal.waited({ lastDial: dial } as Waiter, failure);
    journal.attemptEnded(undefined, failure);
  };
  return { time, journal, fail };
}

test("a wait that fails in the TLS handshake is divided into the queue and the two parts of its dial", () => {
  const { time, journal, fail } = journaled();
  journal.attemptStarted();
  time.now += 307;
  fail("tls", { startedAt: 1200, connectedAt: 1207 });
  expect(journal.attempts).toMatchObject([{ queue_ms: 200, connect_ms: 7, tls_ms: 100, time_ms: 307, sent: false }]);
  expect(journal.timesAt("tls")).toMatchObject({ queue_ms: 200, connect_ms: 7, tls_ms: 100, total_ms: 307 });
});

test("a dial that began before the wait counts from the wait on", () => {
  const { time, journal, fail } = journaled();
  journal.attemptStarted();
  time.now += 50;
  fail("tls", { startedAt: 400, connectedAt: 900 });
  expect(journal.attempts).toMatchObject([{ queue_ms: 0, connect_ms: 0, tls_ms: 50 }]);
});

test("a request that ends in its backoff has spent that time there", () => {
  const { time, journal, fail } = journaled();
  journal.attemptStarted();
  time.now += 12;
  fail("connect", { startedAt: 1000, connectedAt: undefined });
  journal.retried("connect", 100);
  time.now += 70;
  const times = journal.timesAt("backoff");
  expect(times).toMatchObject({ backoff_ms: 70, connect_ms: 12, total_ms: 82 });
  expect(describeTimes(journal.attempts, times)).toBe(" In all: backoff 70 ms, connect 12 ms.");
});

test("an error's message tells each attempt, the waits between them and the sum", async () => {
  const { pool, time } = clocked({ retryBaseMs: 0, maxRetries: 1, maxConnsPerHost: 1 });
  await using server = await faultServer((socket, { number }) => {
    time.now += number === 0 ? 12 : 30;
    if (number === 0) socket.end(reply(502, "", { connection: "close" }));
    else socket.resetAndDestroy();
  });
  const error = await rejection<HttpPoolError>(pool.get(server.url));
  expect(error.attempts).toMatchObject([
    { status: 502, time_ms: 12, headers_ms: 12 },
    { cause: "retry", time_ms: 30, headers_ms: 30, not_retried: "max_retries" },
  ]);
  expect(error.message).toMatch(
    /failed while waiting for the response after 42 ms: .* Attempts: 502 after 12 ms \(headers\), \w+ after 30 ms \(headers\)\. In all: headers 42 ms\.$/,
  );
  expect([error.sent, error.retryable]).toEqual([true, true]);
});

test("an error says whether anything left, and whether the request may be made again", async () => {
  const hold = deferred();
  await using server = await faultServer((socket, { line }) => {
    if (line.includes("/hold")) void hold.promise.then(() => socket.write(reply(200)));
    else if (line.includes("/garbage")) socket.write("SMTP ready\r\n\r\n");
    else if (!line.includes("/silent")) socket.resetAndDestroy();
  });
  await using pool = new HttpPool({ maxRetries: 0, maxConnsPerHost: 1, maxQueue: 1 });
  const facts = async (promise: Promise<unknown>) => {
    const { code, sent, retryable } = await rejection<HttpPoolError>(promise);
    return [code, sent, retryable];
  };
  const { url } = server;
  expect(await facts(pool.post(`${url}/reset`, "x"))).toEqual(["ERR_VG_HTTP_NETWORK", true, false]);
  expect(await facts(pool.put(`${url}/reset`, "x"))).toEqual(["ERR_VG_HTTP_NETWORK", true, true]);
  const keyed = { headers: { "idempotency-key": "k" } };
  expect(await facts(pool.post(`${url}/reset`, "x", keyed))).toEqual(["ERR_VG_HTTP_NETWORK", true, true]);
  expect(await facts(pool.get(`${url}/garbage`))).toEqual(["ERR_VG_HTTP_PROTOCOL", true, false]);
  const late = { timeoutMs: 20 };
  expect(await facts(pool.post(`${url}/silent`, "x", late))).toEqual(["ERR_VG_HTTP_TIMEOUT", true, false]);
  expect(await facts(pool.get(`${url}/silent`, late))).toEqual(["ERR_VG_HTTP_TIMEOUT", true, true]);
  const refused = `http://127.0.0.1:${await closedPort()}/`;
  expect(await facts(pool.post(refused, "x"))).toEqual(["ERR_VG_HTTP_CONNECT", false, true]);
  const first = pool.get(`${url}/hold`);
  const queued = facts(pool.post(url, "x", { timeoutMs: 30 }));
  expect(await facts(pool.post(url, "x"))).toEqual(["ERR_VG_HTTP_QUEUE_FULL", false, true]);
  expect(await queued).toEqual(["ERR_VG_HTTP_TIMEOUT", false, true]);
  hold.resolve();
  await first;
});

test("an error whose first attempt reached the server was sent, though the last one did not", async () => {
  await using server = await faultServer((socket) => {
    void server[Symbol.asyncDispose]();
    socket.resetAndDestroy();
  });
  await using pool = new HttpPool({ maxRetries: 1, retryBaseMs: 1 });
  const error = await rejection<HttpPoolError>(pool.put(server.url, "x"));
  expect(error.code).toBe("ERR_VG_HTTP_CONNECT");
  expect(error.attempts.map(({ sent }) => sent)).toEqual([true, false]);
  expect(error.sent).toBe(true);
});

test("what a response cannot give was sent all the same", async () => {
  await using server = await faultServer((socket) => socket.write(reply(200, "no JSON")));
  await using pool = new HttpPool();
  const response = await pool.get(server.url, { stream: true, maxResponseBytes: 3 });
  const facts = {
    sent: true,
    retryable: false,
    attempts: [{ status: 200 }],
    timings: { queue_ms: expect.any(Number) },
  };
  expect(await rejection(response.bytes())).toMatchObject({ code: "ERR_VG_HTTP_BODY_TOO_LARGE", ...facts });
  expect(await rejection(response.bytes())).toMatchObject({ code: "ERR_VG_HTTP_REQUEST", sent: true });
  expect(await rejection((await pool.get(server.url)).json())).toMatchObject({ code: "ERR_VG_HTTP_JSON", ...facts });
});

test("a stream that breaks later tells the time of its body", async () => {
  const { pool, time } = clocked();
  let finish = () => {};
  await using server = await faultServer((socket) => {
    time.now += 10;
    socket.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart");
    finish = () => socket.destroy();
  });
  const response = await pool.get(server.url, { stream: true });
  expect(response.timings).toMatchObject({ headers_ms: 10, total_ms: 10 });
  time.now += 500;
  finish();
  const error = await rejection<HttpPoolError>(response.text());
  expect(error.timings).toMatchObject({ headers_ms: 10, body_ms: 500, total_ms: 510 });
  expect(error.message).toContain("In all: body 500 ms, headers 10 ms.");
  expect(response.timings.total_ms).toBe(10);
  await pool.close();
});
