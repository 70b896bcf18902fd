/** Servers that answer wrongly, or not to the end: what the caller hears, how often it was tried, what stays. */
import { expect, test } from "vitest";
import {
  HttpBodyTooLargeError,
  HttpNetworkError,
  HttpPool,
  HttpProtocolError,
  HttpTimeoutError,
  type HttpPoolError,
  type HttpPoolOptions,
} from "../../src/index.ts";
import {
  close,
  drippingBody,
  garbage,
  garbageAfterResponse,
  gzipBomb,
  halfHeader,
  head,
  interimStorm,
  inTurn,
  oversizeBody,
  oversizeHeaders,
  raw,
  reply,
  reset,
  resetAfterHeaders,
  resetBeforeHeaders,
  stall,
  startFaultServer,
  truncatedBody,
  truncatedChunks,
  wrongEncoding,
  type Script,
} from "../../src/testing.ts";
import { rejection } from "../support/fault-server.ts";
import { expectWhole } from "../support/whole.ts";

const fast = { maxRetries: 1, retryBaseMs: 1, retryCapMs: 1 };
const MEGABYTE = 1024 * 1024;

interface Row {
  readonly name: string;
  readonly script: Script;
  readonly pool?: HttpPoolOptions;
  readonly type: abstract new (...args: never[]) => HttpPoolError;
  readonly code: string;
  /** Where it ends; a fault of the body reaches the reader of a stream, and no stream is tried again. */
  readonly phase: "headers" | "body";
  /** Of a GET. A POST is sent once, whatever happens to it. */
  readonly attempts: 1 | 2;
}

const network = { type: HttpNetworkError, code: "ERR_VG_HTTP_NETWORK", attempts: 2 } as const;
const protocol = { type: HttpProtocolError, code: "ERR_VG_HTTP_PROTOCOL", attempts: 1 } as const;
const tooLarge = { type: HttpBodyTooLargeError, code: "ERR_VG_HTTP_BODY_TOO_LARGE", attempts: 1 } as const;
const timeout = { type: HttpTimeoutError, code: "ERR_VG_HTTP_TIMEOUT", attempts: 1 } as const;

const ROWS: readonly Row[] = [
  { name: "a reset before the headers", script: resetBeforeHeaders(), phase: "headers", ...network },
  { name: "an end before the headers", script: close(), phase: "headers", ...network },
  { name: "half a header", script: halfHeader(), phase: "headers", ...network },
  { name: "half a header and a reset", script: [raw("HTTP/1.1 200 O"), reset()], phase: "headers", ...network },
  {
    name: "half a header and silence",
    script: [raw("HTTP/1.1 200 OK\r\nx-a"), stall()],
    pool: { timeoutMs: 40 },
    phase: "headers",
    ...timeout,
  },
  {
    name: "interim responses without an end",
    script: interimStorm(2000, stall()),
    pool: { timeoutMs: 200 },
    phase: "headers",
    ...timeout,
  },
  { name: "a reset after the headers", script: resetAfterHeaders(), phase: "body", ...network },
  { name: "a truncated body", script: truncatedBody(), phase: "body", ...network },
  { name: "a chunked body without its end", script: truncatedChunks(), phase: "body", ...network },
  { name: "a body that ends in a chunk", script: truncatedChunks("x", { within: true }), phase: "body", ...network },
  {
    name: "headers and silence",
    script: [head(200, { "content-length": 5 }), stall()],
    pool: { timeoutMs: 40 },
    phase: "body",
    ...timeout,
  },
  { name: "another protocol", script: garbage(), phase: "headers", ...protocol },
  {
    name: "headers that are no headers",
    script: raw("HTTP/1.1 200 OK\r\n\0: x\r\n\r\n"),
    phase: "headers",
    ...protocol,
  },
  { name: "too many headers", script: oversizeHeaders(100_000), phase: "headers", ...protocol },
  {
    name: "a header that is too long",
    script: oversizeHeaders(100_000, { oneLine: true }),
    phase: "headers",
    ...protocol,
  },
  { name: "a body in the wrong encoding", script: wrongEncoding(), phase: "body", ...protocol },
  { name: "a body that is no zstd", script: wrongEncoding("zstd"), phase: "body", ...protocol },
  {
    name: "a gzip bomb",
    script: gzipBomb(),
    pool: { maxResponseBytes: 5 * MEGABYTE },
    phase: "body",
    ...tooLarge,
  },
  {
    name: "a body that says it is too large",
    script: oversizeBody(2 ** 40),
    pool: { maxResponseBytes: MEGABYTE },
    phase: "body",
    ...tooLarge,
  },
  {
    name: "a body that does not say how large it is",
    script: oversizeBody(2 ** 40, { declared: false }),
    pool: { maxResponseBytes: MEGABYTE },
    phase: "body",
    ...tooLarge,
  },
];

for (const { name, script, pool: settings, type, code, phase, attempts } of ROWS) {
  test.each([
    ["GET", false],
    ["GET", true],
    ["POST", false],
    ["POST", true],
  ])(`${name} fails a %s as it should, and leaves nothing (stream: %s)`, async (method, stream) => {
    await using server = await startFaultServer({ requests: script });
    await using pool = new HttpPool({ ...fast, ...settings });
    const answered = pool.do({ method, url: server.url, stream, body: method === "POST" ? "x" : undefined });
    const error = await rejection<HttpPoolError>(answered.then((response) => response.bytes()));
    expect(error).toBeInstanceOf(type);
    expect(error).toMatchObject({ code, phase });
    const tries = method === "GET" && !(stream && phase === "body") ? attempts : 1;
    expect([error.attempts.length, server.requestCount]).toEqual([tries, tries]);
    await expectWhole(pool, server);
    expect(pool.getStats()).toMatchObject({ request_count: 1, error_count: 1, success_count: 0, canceled_count: 0 });
  });

  test(`${name} does no harm to the request after it`, async () => {
    await using server = await startFaultServer({ requests: inTurn(script, reply(200, { body: "well" })) });
    await using pool = new HttpPool({ ...fast, ...settings, maxConnsPerHost: 1, maxRetries: 0 });
    await rejection(pool.get(server.url));
    expect(await (await pool.post(server.url, "x")).text()).toBe("well");
    // Whose body came whole, however wrong it was, is used again.
    const whole = phase === "body" && (type === HttpProtocolError || name === "a gzip bomb");
    expect(server.connections.accepted).toBe(whole ? 1 : 2);
    await expectWhole(pool, server);
  });
}

test("a body that drips is cut at the deadline, wherever it is by then", async () => {
  await using server = await startFaultServer({ requests: drippingBody("x".repeat(10_000), { everyMs: 2 }) });
  await using pool = new HttpPool();
  const error = await rejection<HttpTimeoutError>(pool.get(server.url, { timeoutMs: 50 }));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_TIMEOUT", phase: "body", limit: "timeoutMs" });
  await expectWhole(pool, server);
});

test("a header that drips is cut at the deadline", async () => {
  await using server = await startFaultServer({
    requests: [raw("HTTP/1.1 200 OK\r\nx-a: "), { name: "drip", run: drip }],
  });
  await using pool = new HttpPool();
  const error = await rejection<HttpTimeoutError>(pool.get(server.url, { timeoutMs: 50 }));
  expect(error).toMatchObject({ phase: "headers", limit: "timeoutMs" });
  await expectWhole(pool, server);
});

async function drip(exchange: { write(text: string): Promise<void>; sleep(ms: number): Promise<void> }): Promise<void> {
  for (;;) {
    await exchange.write("x");
    await exchange.sleep(2);
  }
}

test("interim responses before the answer are no answer", async () => {
  await using server = await startFaultServer({ requests: interimStorm(1000) });
  await using pool = new HttpPool({ maxConnsPerHost: 1 });
  for (let i = 0; i < 3; i++) expect(await (await pool.post(server.url, "x")).text()).toBe("ok");
  expect(server.connections.accepted).toBe(1);
  await expectWhole(pool, server);
});

test.each(["GET", "POST"])("what comes behind an answer is nobody's: a %s never gets it", async (method) => {
  await using server = await startFaultServer({ requests: garbageAfterResponse() });
  await using pool = new HttpPool({ maxConnsPerHost: 2, retryBaseMs: 1 });
  const ask = async (): Promise<string> => {
    const response = await pool.do({ method, url: server.url, headers: { "idempotency-key": "k" } });
    return response.text();
  };
  for (let i = 0; i < 10; i++) expect(await Promise.all([ask(), ask(), ask()])).toEqual(["ok", "ok", "ok"]);
  await expectWhole(pool, server);
});

test("a second answer is no error of the request that got the first one", async () => {
  await using server = await startFaultServer({ requests: garbageAfterResponse("\0\0\0 what?") });
  await using pool = new HttpPool({ maxRetries: 0 });
  for (let i = 0; i < 10; i++) expect(await (await pool.get(server.url)).text()).toBe("ok");
  expect(pool.getStats()).toMatchObject({ success_count: 10, error_count: 0 });
  await expectWhole(pool, server);
});
