import { AsyncLocalStorage } from "node:async_hooks";
import { channel } from "node:diagnostics_channel";
import { Readable } from "node:stream";
import { expect, test } from "vitest";
import { HttpConnectError, HttpNetworkError, HttpPool } from "../src/index.ts";
import { closedPort, faultServer, poolClosedTo, rejection, reply } from "./support/fault-server.ts";

const fast = { retryBaseMs: 1, retryCapMs: 2 };

test("a GET is retried until it succeeds, and tells its attempts", async () => {
  await using server = await faultServer((socket, { number }) => socket.write(reply(number < 2 ? 503 : 200)));
  await using pool = new HttpPool(fast);
  const response = await pool.get(server.url);
  expect(response.attempts.map(({ number, cause, status }) => [number, cause, status])).toEqual([
    [1, "first", 503],
    [2, "retry", 503],
    [3, "retry", 200],
  ]);
  expect(server.accepted()).toBe(1);
  expect(pool.getStats()).toMatchObject({ request_count: 1, success_count: 1, error_count: 0, retry_count: 2 });
  expect(pool.getStats().retries_by_cause).toMatchObject({ rejected: 2, network: 0 });
});

test("the last response of exhausted retries is handed out with its body, and is an error in the statistics", async () => {
  await using server = await faultServer((socket, { number }) => socket.write(reply(500, `failure ${number}`)));
  await using pool = new HttpPool({ ...fast, maxRetries: 2 });
  const response = await pool.get(server.url);
  expect([response.status, await response.text(), response.attempts.length]).toEqual([500, "failure 2", 3]);
  expect(pool.getStats()).toMatchObject({ error_count: 1, success_count: 0, success_rate: 0, retry_count: 2 });
});

test("a POST is not retried on any status", async () => {
  await using server = await faultServer((socket) => socket.write(reply(503)));
  await using pool = new HttpPool(fast);
  expect((await pool.post(server.url, "x")).status).toBe(503);
  expect(server.requests.length).toBe(1);
});

test.each([
  ["no values", []],
  ["nothing", ""],
  ["blanks", " "],
  ["empty values", ["", " "]],
])("an Idempotency-Key of %s is no key on the wire, and a POST with it is sent once", async (_name, key) => {
  await using server = await faultServer((socket) => socket.write(reply(500)));
  await using pool = new HttpPool(fast);
  const headers = { "idempotency-key": key };
  await pool.post(server.url, "pay", { headers });
  if (typeof key === "string")
    await pool.fetch(server.url, { method: "POST", body: "pay", headers: { "Idempotency-Key": key } });
  const { body } = await pool.dispatcher.request({
    origin: server.url,
    path: "/",
    method: "POST",
    body: "pay",
    headers,
  });
  await body.dump();
  expect(server.requests.length).toBe(typeof key === "string" ? 3 : 2);
});

test("a wait that the server names twice is kept", async () => {
  await using server = await faultServer((socket, { number }) =>
    socket.write(
      number === 0 ? "HTTP/1.1 503 No\r\nretry-after: 0\r\nretry-after: 30\r\ncontent-length: 0\r\n\r\n" : reply(200),
    ),
  );
  await using pool = new HttpPool({ ...fast, timeoutMs: 10_000 });
  // The wait of 30 s is more than the request has.
  const { status, attempts } = await pool.get(server.url);
  expect([status, attempts.at(-1)?.not_retried]).toEqual([503, "deadline"]);
});

test.each([
  ["an Idempotency-Key", { headers: { "Idempotency-Key": "k1" } }],
  ['retryOn: "rejected"', { retryOn: "rejected" as const }],
])("a POST with %s is retried on 503 with the same body", async (_name, options) => {
  await using server = await faultServer((socket, { number }) => socket.write(reply(number === 0 ? 503 : 200)));
  await using pool = new HttpPool(fast);
  expect((await pool.post(server.url, { a: 1 }, options)).status).toBe(200);
  expect(server.requests.map(({ body }) => body)).toEqual(['{"a":1}', '{"a":1}']);
});

test('retryOn: "rejected" does not repeat a POST that failed with 500', async () => {
  await using server = await faultServer((socket) => socket.write(reply(500)));
  await using pool = new HttpPool({ ...fast, retryOn: "rejected" });
  expect((await pool.post(server.url, "x")).status).toBe(500);
  expect(server.requests.length).toBe(1);
});

test("a POST is sent once when the connection is reset after it was sent", async () => {
  await using server = await faultServer((socket) => socket.resetAndDestroy());
  await using pool = new HttpPool({ ...fast, retryOn: "rejected" });
  const error = await rejection<HttpNetworkError>(pool.post(server.url, "charge me"));
  expect(error).toBeInstanceOf(HttpNetworkError);
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_NETWORK", phase: "headers" });
  expect(server.requests.length).toBe(1);
});

test("a POST on a reused connection that dies is sent once, too", async () => {
  await using server = await faultServer((socket, { number }) =>
    number === 0 ? socket.write(reply(200)) : socket.resetAndDestroy(),
  );
  await using pool = new HttpPool(fast);
  await pool.get(server.url);
  expect(await rejection(pool.post(server.url, "x"))).toBeInstanceOf(HttpNetworkError);
  expect(server.requests.length).toBe(2);
});

test("a POST to a closed port is retried, for it never left", async () => {
  const port = await closedPort();
  await using pool = new HttpPool({ ...fast, maxRetries: 2 });
  const error = await rejection<HttpConnectError>(pool.post(`http://127.0.0.1:${port}/`, "x"));
  expect(error).toBeInstanceOf(HttpConnectError);
  expect(error.attempts.map((attempt) => attempt.error_code)).toEqual(["ECONNREFUSED", "ECONNREFUSED", "ECONNREFUSED"]);
  expect(error.message).toMatch(
    /^http: POST http:\/\/127.0.0.1:\d+\/ failed while connecting after \d+ ms: ECONNREFUSED\..*Attempts: ECONNREFUSED after/,
  );
  expect((error.cause as NodeJS.ErrnoException).code).toBe("ECONNREFUSED");
  await poolClosedTo(pool, 0);
  expect(pool.getStats()).toMatchObject({ error_count: 1, connect_failure_count: 3, open_connections: 0, queued: 0 });
});

test("an unknown host is retried and named", async () => {
  await using pool = new HttpPool({
    ...fast,
    maxRetries: 1,
    lookup: (_host, _options, done) => done(Object.assign(new Error("no such host"), { code: "ENOTFOUND" }), ""),
  });
  const error = await rejection<HttpConnectError>(pool.get("http://nowhere.test/"));
  expect(error.attempts.map((attempt) => attempt.error_code)).toEqual(["ENOTFOUND", "ENOTFOUND"]);
});

test("a server that resets shortly after each response costs no sequential GET", async () => {
  await using server = await faultServer((socket) => {
    socket.write(reply(200), () => setTimeout(() => socket.resetAndDestroy(), 1));
  });
  await using pool = new HttpPool({ maxRetries: 0 });
  for (let i = 0; i < 200; i++) {
    expect((await pool.get(server.url)).status).toBe(200);
    if (i % 3 === 0) await new Promise((resolve) => setTimeout(resolve, i % 2));
  }
  expect(pool.getStats()).toMatchObject({ success_count: 200, error_count: 0, retry_count: 0 });
});

test("a reused connection that dies before its first response byte is replaced at once, as no retry", async () => {
  await using server = await faultServer((socket, { onConnection }) =>
    onConnection === 0 ? socket.write(reply(200)) : socket.resetAndDestroy(),
  );
  await using pool = new HttpPool({ maxRetries: 0 });
  await pool.get(server.url);
  const response = await pool.get(server.url);
  expect(response.attempts.map(({ cause, status, error_code }) => [cause, status ?? error_code])).toEqual([
    ["first", expect.stringMatching(/ECONNRESET|UND_ERR_SOCKET/)],
    ["resend", 200],
  ]);
  expect(pool.getStats()).toMatchObject({ stale_resends: 1, retry_count: 0, success_count: 2 });
});

test("resends end where every connection dies on its second request", async () => {
  await using server = await faultServer((socket) => socket.resetAndDestroy());
  await using pool = new HttpPool({ maxRetries: 0 });
  expect(await rejection(pool.get(server.url))).toBeInstanceOf(HttpNetworkError);
  expect(server.requests.length).toBe(1);
});

test.each([
  ["half a header", "HTTP/1.1 200 OK\r\ncontent-le"],
  ["a truncated body", "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nonly this"],
  ["a truncated chunk", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n64\r\nonly this"],
])("a GET that got %s is retried", async (_name, broken) => {
  await using server = await faultServer((socket, { number }) =>
    number === 0 ? socket.end(broken) : socket.write(reply(200, "whole")),
  );
  await using pool = new HttpPool(fast);
  const response = await pool.get(server.url);
  expect([await response.text(), response.attempts.length]).toEqual(["whole", 2]);
  expect(pool.getStats().retries_by_cause.network).toBe(1);
});

test("a response that is no HTTP is refused and not retried", async () => {
  await using server = await faultServer((socket) => socket.write("SMTP ready\r\n\r\n"));
  await using pool = new HttpPool(fast);
  expect(await rejection(pool.get(server.url))).toMatchObject({ code: "ERR_VG_HTTP_PROTOCOL" });
  expect(server.requests.length).toBe(1);
});

test("headers beyond maxHeaderBytes are refused", async () => {
  await using server = await faultServer((socket) => socket.write(reply(200, "", { big: "x".repeat(3000) })));
  await using pool = new HttpPool({ maxHeaderBytes: 2048 });
  const error = await rejection(pool.get(server.url));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_PROTOCOL" });
  expect(error.message).toContain("maxHeaderBytes");
});

test("Retry-After beyond the deadline ends the retries at once with the response", async () => {
  await using server = await faultServer((socket) => socket.write(reply(429, "slow down", { "retry-after": 3600 })));
  await using pool = new HttpPool(fast);
  const response = await pool.get(server.url);
  expect([response.status, await response.text()]).toEqual([429, "slow down"]);
  expect(server.requests.length).toBe(1);
});

test("a Retry-After date beyond the deadline does so, too, and the attempt says why it was the last", async () => {
  const date = new Date(Date.now() + 3_600_000).toUTCString();
  await using server = await faultServer((socket) => socket.write(reply(503, "later", { "retry-after": date })));
  await using pool = new HttpPool(fast);
  for (const stream of [false, true]) {
    const response = await pool.get(server.url, { stream });
    expect([response.status, await response.text()]).toEqual([503, "later"]);
    expect(response.attempts).toMatchObject([{ status: 503, not_retried: "deadline" }]);
  }
  expect(pool.getStats()).toMatchObject({ retry_count: 0, retries_denied: 0 });
});

test("a retry does not come before Retry-After", async () => {
  const times: number[] = [];
  await using server = await faultServer((socket, { number }) => {
    times.push(performance.now());
    socket.write(number === 0 ? reply(503, "", { "retry-after": 1 }) : reply(200));
  });
  await using pool = new HttpPool(fast);
  expect((await pool.get(server.url)).status).toBe(200);
  // A timer may fire up to a millisecond early.
  expect((times[1] as number) - (times[0] as number)).toBeGreaterThanOrEqual(998);
});

test("a body that can be read only once is not sent twice, and the error says what to do", async () => {
  await using server = await faultServer((socket) => socket.resetAndDestroy(), undefined);
  await using pool = new HttpPool(fast);
  const source = Readable.from([Buffer.from("once")]);
  const error = await rejection(pool.put(server.url, source, { headers: { "x-length": "4" } }));
  expect(error.message).toContain("give a function that makes the body");
  expect(pool.getStats().retry_count).toBe(0);
});

test("a one-shot body that was answered with 503 is not sent again, and the attempt says why", async () => {
  await using server = await faultServer((socket) => socket.write(reply(503, "busy")));
  await using pool = new HttpPool(fast);
  // Chunked: the server of this test knows bodies by content-length only, so it answers at the headers.
  const response = await pool.put(server.url, Readable.from([Buffer.from("once")]));
  expect([response.status, await response.text()]).toEqual([503, "busy"]);
  expect(response.attempts).toMatchObject([{ status: 503, not_retried: "one_shot_body" }]);
});

test("a failure that no body would have been repeated for does not blame the body", async () => {
  await using server = await faultServer((socket) => socket.resetAndDestroy());
  await using pool = new HttpPool(fast);
  const error = await rejection<HttpNetworkError>(pool.post(server.url, Readable.from([Buffer.from("once")])));
  expect(error.attempts).toMatchObject([{ not_retried: "not_idempotent" }]);
  expect(error.message).not.toContain("read only once");
});

test("a plain POST that was answered with 429, or whose connection broke, says why it was not sent again", async () => {
  await using server = await faultServer((socket, { line }) => {
    if (line.includes("/busy")) socket.write(reply(429, "later"));
    else if (line.includes("/wrong")) socket.write(reply(400, "no"));
    else socket.resetAndDestroy();
  });
  await using pool = new HttpPool({ ...fast, maxRetries: 1 });
  const busy = await pool.post(`${server.url}/busy`, "x");
  expect(busy.attempts).toMatchObject([{ status: 429, not_retried: "not_idempotent" }]);
  const error = await rejection<HttpNetworkError>(pool.post(`${server.url}/reset`, "x"));
  expect(error.attempts).toMatchObject([{ not_retried: "not_idempotent" }]);
  expect(error.message).toContain("Not retried: the server may have acted on it. An Idempotency-Key would");
  // Where nothing forbids it, the reason is another.
  const rejected = await pool.post(`${server.url}/busy`, "x", { retryOn: "rejected" });
  expect(rejected.attempts.map(({ not_retried }) => not_retried)).toEqual([undefined, "max_retries"]);
  expect((await pool.post(`${server.url}/wrong`, "x")).attempts[0]).not.toHaveProperty("not_retried");
});

test("the last response of exhausted retries is handed out as a stream, with the attempts and a body to read", async () => {
  await using server = await faultServer((socket, { number }) => socket.write(reply(503, `failure ${number}`)));
  await using pool = new HttpPool({ ...fast, maxRetries: 2 });
  const response = await pool.get(server.url, { stream: true });
  expect(response.attempts.map(({ cause, status, not_retried }) => [cause, status, not_retried])).toEqual([
    ["first", 503, undefined],
    ["retry", 503, undefined],
    ["retry", 503, "max_retries"],
  ]);
  expect(await response.text()).toBe("failure 2");
  expect(pool.getStats()).toMatchObject({ error_count: 1, success_count: 0, retry_count: 2, in_flight: 0 });
});

test("retry-after-ms holds back a retry, and beyond the deadline there is none", async () => {
  const times: number[] = [];
  await using server = await faultServer((socket, { number, line }) => {
    times.push(performance.now());
    const wait = line.includes("/long") ? "3600000" : "60";
    socket.write(number === 0 || line.includes("/long") ? reply(429, "later", { "retry-after-ms": wait }) : reply(200));
  });
  await using pool = new HttpPool(fast);
  expect((await pool.get(server.url)).status).toBe(200);
  expect((times[1] as number) - (times[0] as number)).toBeGreaterThanOrEqual(58);
  const long = await pool.get(`${server.url}/long`);
  expect([long.status, await long.text(), long.attempts.at(-1)?.not_retried]).toEqual([429, "later", "deadline"]);
});

test("a stream from a function is made anew for each attempt", async () => {
  const bodies: string[] = [];
  await using server = await faultServer((socket, { number }) => {
    socket.write(reply(number === 0 ? 502 : 200));
  });
  await using pool = new HttpPool(fast);
  let made = 0;
  const response = await pool.put(server.url, () => {
    made++;
    bodies.push(`body ${made}`);
    return Readable.from([Buffer.from(`body ${made}`)]);
  });
  expect(response.status).toBe(200);
  expect(made).toBe(2);
});

test("an unread one-shot body survives a refused connection", async () => {
  const port = await closedPort();
  await using pool = new HttpPool({ ...fast, maxRetries: 1 });
  const error = await rejection<HttpConnectError>(
    pool.post(`http://127.0.0.1:${port}/`, Readable.from([Buffer.from("x")])),
  );
  expect(error.attempts.length).toBe(2);
});

test("a body source that throws fails the request with its error as the cause, unretried", async () => {
  await using server = await faultServer((socket) => socket.write(reply(200)));
  await using pool = new HttpPool(fast);
  const reason = new Error("disk gone");
  const source = async function* () {
    yield Buffer.from("part");
    throw reason;
  };
  const error = await rejection(pool.put(server.url, source()));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_REQUEST", cause: reason });
  const factory = await rejection(
    pool.put(server.url, () => {
      throw reason;
    }),
  );
  expect(factory).toMatchObject({ code: "ERR_VG_HTTP_REQUEST", cause: reason });
});

test("every attempt runs in the context of its own caller", async () => {
  const storage = new AsyncLocalStorage<string>();
  const seen: string[] = [];
  const listener = (message: unknown) => {
    const { path } = (message as { request: { path: string } }).request;
    seen.push(`${path} ${storage.getStore()}`);
  };
  await using server = await faultServer((socket, { number }) => socket.write(reply(number < 3 ? 503 : 200)));
  await using pool = new HttpPool({ ...fast, maxConnsPerHost: 1 });
  const created = channel("undici:request:create");
  created.subscribe(listener);
  try {
    await Promise.all(["A", "B", "C"].map((id) => storage.run(id, () => pool.get(`${server.url}/${id}`))));
  } finally {
    created.unsubscribe(listener);
  }
  expect(seen.toSorted()).toEqual(["/A A", "/A A", "/B B", "/B B", "/C C", "/C C"]);
});

test("a retry is logged with its cause and delay", async () => {
  await using server = await faultServer((socket, { number }) => socket.write(reply(number === 0 ? 502 : 200)));
  const lines: [object, string][] = [];
  const debug = (fields: object, message: string) => void lines.push([fields, message]);
  const none = () => {};
  await using pool = new HttpPool({
    ...fast,
    name: "upstream",
    logger: { debug, info: none, warn: none, error: none },
  });
  await pool.get(`${server.url}/a?secret=1`);
  expect(lines).toEqual([
    [
      { pool: "upstream", request: `GET ${server.url}/a?…`, retry: 1, cause: "status", delay_ms: expect.any(Number) },
      "http retry",
    ],
  ]);
});
