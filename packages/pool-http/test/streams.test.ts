import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { HttpNetworkError, HttpPool } from "../src/index.ts";
import { deferred, faultServer, httpServer, rejection, reply, settled, turns } from "./support/fault-server.ts";
import { withFakeTime } from "./support/fake-time.ts";

const HEAD = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
const chunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
const END = "0\r\n\r\n";

test("a stream resolves at its headers and hands out chunks as they come", async () => {
  const next = deferred();
  await using server = await faultServer((socket) => {
    socket.write(HEAD + chunk("one"));
    void next.promise.then(() => socket.write(chunk("two") + END));
  });
  await using pool = new HttpPool();
  const response = await pool.get(server.url, { stream: true });
  expect(pool.getStats()).toMatchObject({ in_flight: 1, success_count: 0 });
  const seen: string[] = [];
  for await (const part of response.body) {
    seen.push(String(part));
    next.resolve();
  }
  expect(seen).toEqual(["one", "two"]);
  expect(pool.getStats()).toMatchObject({ in_flight: 0, success_count: 1 });
  await turns(2);
  expect(pool.getStats().idle_connections).toBe(1);
});

test("a stream outlives timeoutMs once its first byte has come", () =>
  withFakeTime(async (pass) => {
    const next = deferred();
    await using server = await faultServer((socket) => {
      socket.write(HEAD + chunk("first"));
      void next.promise.then(() => socket.end(chunk("last") + END));
    });
    await using pool = new HttpPool();
    const response = await pool.get(server.url, { stream: true, timeoutMs: 400 });
    await settled(() => pool.getStats().bytes_received);
    pass(450);
    next.resolve();
    expect(await response.text()).toBe("firstlast");
  }));

test("a stream whose first byte does not come in time ends with the deadline", async () => {
  await using server = await faultServer((socket) => socket.write(HEAD));
  await using pool = new HttpPool();
  const response = await pool.get(server.url, { stream: true, timeoutMs: 30 });
  expect(await rejection(response.text())).toMatchObject({ limit: "timeoutMs", phase: "body" });
  expect(pool.getStats()).toMatchObject({ error_count: 1, timeout_count: 1, in_flight: 0 });
  await server.socketsDownTo(0);
});

test("silence within a stream ends it after bodyGapTimeoutMs", async () => {
  await using server = await faultServer((socket) => socket.write(HEAD + chunk("first")));
  await using pool = new HttpPool({ bodyGapTimeoutMs: 20 });
  const response = await pool.get(server.url, { stream: true });
  expect(await rejection(response.text())).toMatchObject({ code: "ERR_VG_HTTP_TIMEOUT", limit: "bodyGapTimeoutMs" });
  await server.socketsDownTo(0);
});

test("a reader that takes its time is not taken for silence", () =>
  withFakeTime(async (pass) => {
    const big = "x".repeat(1024 * 1024);
    await using server = await faultServer((socket) => socket.write(reply(200, big)));
    await using pool = new HttpPool({ bodyGapTimeoutMs: 20 });
    const response = await pool.get(server.url, { stream: true });
    const iterator = response.body[Symbol.asyncIterator]();
    const first = (await iterator.next()) as { value: Buffer };
    await settled(() => pool.getStats().bytes_received);
    pass(60);
    let size = first.value.length;
    for await (const part of { [Symbol.asyncIterator]: () => iterator }) size += (part as Buffer).length;
    expect(size).toBe(big.length);
  }));

test("no stream lasts longer than bodyTimeoutMs, whether anybody reads or not", async () => {
  await using server = await faultServer((socket) => {
    socket.write(HEAD);
    const drip = setInterval(() => socket.write(chunk(".")), 2);
    socket.once("close", () => clearInterval(drip));
  });
  await using pool = new HttpPool();
  const read = await pool.get(server.url, { stream: true, bodyTimeoutMs: 40 });
  expect(await rejection(read.text())).toMatchObject({ limit: "bodyTimeoutMs" });
  await pool.get(server.url, { stream: true, bodyTimeoutMs: 20 });
  await server.socketsDownTo(0);
  expect(pool.getStats()).toMatchObject({ in_flight: 0, error_count: 2 });
});

test("a reader that stops early gives the connection up and counts as canceled", async () => {
  await using server = await faultServer((socket) => socket.write(HEAD + chunk("first")));
  await using pool = new HttpPool();
  const response = await pool.get(server.url, { stream: true });
  for await (const part of response.body) {
    expect(String(part)).toBe("first");
    break;
  }
  await server.socketsDownTo(0);
  const other = await pool.get(server.url, { stream: true });
  await other.discard();
  await server.socketsDownTo(0);
  expect(pool.getStats()).toMatchObject({ canceled_count: 2, error_count: 0, in_flight: 0 });
});

test("the signal ends a stream with its reason", async () => {
  await using server = await faultServer((socket) => socket.write(HEAD + chunk("first")));
  await using pool = new HttpPool();
  const abort = new AbortController();
  const response = await pool.get(server.url, { stream: true, signal: abort.signal });
  const reason = new Error("the user left");
  const text = rejection(response.text());
  abort.abort(reason);
  expect(await text).toBe(reason);
  expect(pool.getStats()).toMatchObject({ canceled_count: 1, error_count: 0 });
});

test("a stream that breaks off fails its reader, and is not retried", async () => {
  await using server = await faultServer((socket) =>
    socket.write(HEAD + chunk("first"), () => socket.resetAndDestroy()),
  );
  await using pool = new HttpPool();
  const response = await pool.get(server.url, { stream: true });
  expect(await rejection(response.text())).toBeInstanceOf(HttpNetworkError);
  expect(pool.getStats()).toMatchObject({ error_count: 1, retry_count: 0 });
});

test("a streamed request is retried on its status, before anything is handed out", async () => {
  await using server = await faultServer((socket, { number }) =>
    socket.write(number === 0 ? reply(503, "busy") : HEAD + chunk("done") + END),
  );
  await using pool = new HttpPool({ retryBaseMs: 1 });
  const response = await pool.post(server.url, { prompt: "hi" }, { stream: true, retryOn: "rejected" });
  expect([response.status, await response.text()]).toEqual([200, "done"]);
  expect(server.accepted()).toBe(1);
});

test("the last response of exhausted retries can be streamed", async () => {
  await using server = await faultServer((socket) => socket.write(reply(503, "busy")));
  await using pool = new HttpPool({ maxRetries: 1, retryBaseMs: 1 });
  const response = await pool.get(server.url, { stream: true });
  expect([response.status, await response.text()]).toEqual([503, "busy"]);
  expect(pool.getStats()).toMatchObject({ error_count: 1 });
});

test("a streamed response without a body ends at once", async () => {
  await using server = await faultServer((socket) => socket.write("HTTP/1.1 204 No Content\r\n\r\n"));
  await using pool = new HttpPool();
  const response = await pool.get(server.url, { stream: true });
  expect([response.status, await response.text()]).toEqual([204, ""]);
  const head = await pool.head(server.url, { stream: true });
  expect(await head.text()).toBe("");
  expect(pool.getStats()).toMatchObject({ success_count: 2, in_flight: 0 });
});

test("a stream is read once", async () => {
  await using server = await faultServer((socket) => socket.write(reply(200)));
  await using pool = new HttpPool();
  const response = await pool.get(server.url, { stream: true });
  await response.text();
  expect((await rejection(response.text())).message).toContain("was read already");
});

test("back-pressure reaches the server: an unread stream is not read into memory", async () => {
  let written = 0;
  await using server = await faultServer((socket) => {
    socket.write(HEAD);
    const block = chunk("x".repeat(64 * 1024));
    const fill = () => {
      while (written < 200 * 1024 * 1024) {
        written += 64 * 1024;
        if (!socket.write(block)) {
          socket.once("drain", fill);
          break;
        }
      }
    };
    fill();
  });
  await using pool = new HttpPool();
  const response = await pool.get(server.url, { stream: true });
  await settled(() => written);
  expect(pool.getStats().bytes_received).toBeLessThan(1024 * 1024);
  await response.discard();
});

test("an empty body with a content-encoding is an empty body, streamed or not", async () => {
  await using server = await faultServer((socket, { line }) => {
    if (line.includes("/204")) socket.write("HTTP/1.1 204 No Content\r\ncontent-encoding: gzip\r\n\r\n");
    else if (line.includes("/0")) socket.write(reply(200, "", { "content-encoding": "br" }));
    else socket.write(`HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n${END}`);
  });
  await using pool = new HttpPool();
  for (const path of ["204", "0", "chunked"]) {
    for (const stream of [true, false]) {
      expect(await (await pool.get(`${server.url}/${path}`, { stream })).text()).toBe("");
    }
  }
  expect(pool.getStats()).toMatchObject({ success_count: 6, in_flight: 0 });
});

test("a compressed stream that ends too early fails its reader", async () => {
  const cut = gzipSync("x".repeat(1000)).subarray(0, 20).toString("latin1");
  await using server = await faultServer((socket) => {
    socket.write("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 20\r\n\r\n");
    socket.write(cut, "latin1");
  });
  await using pool = new HttpPool();
  const response = await pool.get(server.url, { stream: true });
  expect(await rejection(response.text())).toMatchObject({ code: "ERR_VG_HTTP_PROTOCOL" });
  expect(pool.getStats()).toMatchObject({ error_count: 1, in_flight: 0 });
});

test("a stream that is too large to collect is an error, compressed or not, arrived or not", async () => {
  const big = Buffer.alloc(300_000, "x");
  await using server = await httpServer(({ url }, response) => {
    const body = url?.startsWith("/small") === true ? big.subarray(0, 100) : big;
    const compressed = url?.endsWith("gzip") === true;
    if (compressed) response.setHeader("content-encoding", "gzip");
    response.end(compressed ? gzipSync(body) : body);
  });
  await using pool = new HttpPool({ maxResponseBytes: 10 });
  for (const path of ["small", "small-gzip", "large", "large-gzip"]) {
    const response = await pool.get(`${server.url}/${path}`, { stream: true });
    await turns(5);
    expect(await rejection(response.text())).toMatchObject({ code: "ERR_VG_HTTP_BODY_TOO_LARGE" });
  }
  expect(pool.getStats()).toMatchObject({ error_count: 4, success_count: 0, canceled_count: 0, in_flight: 0 });
});

test.each([null, 0, ""])("a stream whose signal is aborted with %o says so", async (reason) => {
  await using server = await faultServer((socket) => socket.write(HEAD + chunk("first")));
  await using pool = new HttpPool();
  const abort = new AbortController();
  const response = await pool.get(server.url, { stream: true, signal: abort.signal });
  const text = rejection(response.text());
  abort.abort(reason);
  expect(await text).toMatchObject({ name: "AbortError", cause: reason });
  expect(pool.getStats()).toMatchObject({ canceled_count: 1, in_flight: 0 });
});

test("discard keeps the connection where the rest is small, and closes it where it is not", async () => {
  let rest = deferred();
  await using server = await faultServer((socket, { line }) => {
    const size = line.includes("/large") ? 10_000_000 : 4;
    socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${size}\r\n\r\nab`);
    void rest.promise.then(() => socket.write("cd"));
  });
  await using pool = new HttpPool();
  for (let i = 0; i < 2; i++) {
    rest = deferred();
    const response = await pool.get(server.url, { stream: true });
    const discarded = response.discard();
    rest.resolve();
    await discarded;
    expect(pool.getStats().idle_connections).toBe(1);
  }
  rest = deferred();
  expect(server.accepted()).toBe(1);
  await (await pool.get(`${server.url}/large`, { stream: true })).discard();
  await server.socketsDownTo(0);
  expect(pool.getStats()).toMatchObject({ canceled_count: 3, in_flight: 0 });
});
