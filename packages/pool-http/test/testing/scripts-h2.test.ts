/** Each script over HTTP/2: it does what it is named, or it is refused with a reason. Nothing stalls. */
import { expect, test } from "vitest";
import {
  HttpBodyTooLargeError,
  HttpNetworkError,
  HttpPool,
  HttpProtocolError,
  type HttpPoolError,
  type HttpPoolOptions,
} from "../../src/index.ts";
import {
  closeAfterResponse,
  drippingBody,
  FaultScriptError,
  garbage,
  garbageAfterResponse,
  gzipBomb,
  halfHeader,
  interimStorm,
  oversizeBody,
  oversizeHeaders,
  raw,
  redirect,
  reply,
  resetAfterHeaders,
  resetAfterResponse,
  resetBeforeHeaders,
  retryAfter,
  startFaultServer,
  truncatedBody,
  truncatedChunks,
  wrongEncoding,
  type Script,
} from "../../src/testing.ts";
import { rejection } from "../support/fault-server.ts";

const PROTOCOLS = ["h2c", "h2"] as const;

const poolFor = (ca: string, options: HttpPoolOptions = {}): HttpPool =>
  new HttpPool({ http2: "on", maxRetries: 0, timeoutMs: 10_000, tls: ca === "" ? {} : { ca }, ...options });

type ErrorType = abstract new (...args: never[]) => HttpPoolError;

const FAILURES: readonly [string, Script, ErrorType, phase: string][] = [
  ["resetBeforeHeaders()", resetBeforeHeaders(), HttpNetworkError, "headers"],
  ["resetAfterHeaders()", resetAfterHeaders(), HttpNetworkError, "body"],
  ["truncatedBody()", truncatedBody(), HttpNetworkError, "body"],
  ["truncatedChunks()", truncatedChunks(), HttpNetworkError, "body"],
  ["truncatedChunks() within one", truncatedChunks("only this", { within: true }), HttpNetworkError, "body"],
  ["oversizeBody()", oversizeBody(3_000_000), HttpBodyTooLargeError, "body"],
  ["oversizeBody() without a length", oversizeBody(3_000_000, { declared: false }), HttpBodyTooLargeError, "body"],
  ["gzipBomb()", gzipBomb(100_000_000), HttpBodyTooLargeError, "body"],
  ["wrongEncoding()", wrongEncoding(), HttpProtocolError, "body"],
];

test.each(FAILURES)("%s fails", async (_name, script, type, phase) => {
  for (const protocol of PROTOCOLS) {
    await using server = await startFaultServer({ protocol, requests: script });
    await using pool = poolFor(server.ca, { maxResponseBytes: 1_000_000 });
    const error = await rejection<HttpPoolError>(pool.get(server.url));
    expect(error).toBeInstanceOf(type);
    expect(error).toMatchObject({ phase });
  }
});

test.each([
  [20_000, false],
  [20_000, true],
  [1_000_000, false],
  [1_000_000, true],
])("oversizeHeaders(%i), in one line: %s, are refused by a pool that takes less", async (bytes, oneLine) => {
  for (const protocol of PROTOCOLS) {
    await using server = await startFaultServer({ protocol, requests: oversizeHeaders(bytes, { oneLine }) });
    await using pool = poolFor(server.ca, { maxHeaderBytes: 16_384 });
    // What is far more is refused by the decoder below, in words of its own.
    const { message } = await rejection(pool.get(server.url));
    expect(message).toMatch(bytes > 60_000 ? /ENHANCE_YOUR_CALM|INTERNAL_ERROR/ : /maxHeaderBytes/);
    if (bytes > 60_000) continue;
    await using patient = poolFor(server.ca, { maxHeaderBytes: 100_000 });
    const filler = (await patient.get(server.url)).header("x-filler");
    expect(filler?.length).toBeGreaterThan(bytes * 0.95);
  }
});

const ANSWERS: readonly [string, Script, number][] = [
  ["closeAfterResponse()", closeAfterResponse(), 200],
  ["resetAfterResponse()", resetAfterResponse(1), 200],
  ["drippingBody()", drippingBody("abc", { everyMs: 1 }), 200],
  ["interimStorm()", interimStorm(20), 200],
  ["retryAfter()", retryAfter(1), 503],
  ["redirect()", redirect("/"), 302],
];

test.each(ANSWERS)("%s answers", async (_name, script, status) => {
  for (const protocol of PROTOCOLS) {
    await using server = await startFaultServer({ protocol, requests: script });
    await using pool = poolFor(server.ca, { maxRedirects: 0 });
    expect((await pool.get(server.url)).status).toBe(status);
  }
});

const REFUSED: readonly [string, Script][] = [
  ["halfHeader()", halfHeader()],
  ["garbage()", garbage()],
  ["garbageAfterResponse()", garbageAfterResponse("more", reply(200))],
  ["raw()", raw("bytes")],
];

test.each(REFUSED)("%s is refused, and says why", async (_name, script) => {
  for (const protocol of PROTOCOLS) {
    const server = await startFaultServer({ protocol, requests: script });
    await using pool = poolFor(server.ca);
    await pool.get(server.url).catch(() => {});
    // What goes before the step that is refused may have been an answer.
    while (server.failures.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const failure = await rejection(server.close());
    expect(failure).toBeInstanceOf(FaultScriptError);
    expect(failure.message).toContain("HTTP/2");
  }
});

test("an answer that is cut off on one stream does not wait for the others of its connection", async () => {
  await using server = await startFaultServer({
    protocol: "h2c",
    requests: ({ path }) => (path === "/cut" ? truncatedBody() : drippingBody("x".repeat(1000), { everyMs: 50 })),
  });
  await using pool = poolFor("");
  const other = rejection(pool.get(`${server.url}/slow`));
  await server.requestsComplete(1);
  expect(await rejection(pool.get(`${server.url}/cut`))).toBeInstanceOf(HttpNetworkError);
  expect(await other).toBeInstanceOf(HttpNetworkError);
});
