/** `attemptTimeoutMs` ends an attempt, from its request to the last byte of its answer. */
import { expect, test } from "vitest";
import { HttpPool, HttpTimeoutError } from "../src/index.ts";
import { body, head, inTurn, reply, stall, startFaultServer } from "../src/testing.ts";
import { rejection } from "./support/fault-server.ts";

test.each([200, 302, 408, 425, 429, 500, 503])(
  "a body that stalls behind a %i is cut by attemptTimeoutMs",
  async (status) => {
    await using server = await startFaultServer({
      requests: [head(status, { "content-length": 100 }), body("so far"), stall()],
    });
    await using pool = new HttpPool({ attemptTimeoutMs: 30, timeoutMs: 20_000 });
    const error = await rejection(pool.post(server.url, "x"));
    expect(error).toBeInstanceOf(HttpTimeoutError);
    expect(error).toMatchObject({ limit: "attemptTimeoutMs", phase: "body", sent: true });
    expect(server.requestCount).toBe(1);
  },
);

test("a GET whose refusal stalls is tried again", async () => {
  await using server = await startFaultServer({
    requests: inTurn([head(503, { "content-length": 100, "retry-after": "soon" }), stall()], reply(200)),
  });
  await using pool = new HttpPool({ attemptTimeoutMs: 30, retryBaseMs: 1 });
  expect((await pool.get(server.url)).status).toBe(200);
});

test("attemptTimeoutMs ends with its attempt: a backoff and a stream outlast it", async () => {
  await using server = await startFaultServer({
    requests: inTurn(reply(503), [head(200, { "content-length": 4 }), body("on"), stall()]),
  });
  await using pool = new HttpPool({ attemptTimeoutMs: 30, retryBaseMs: 80, random: () => 0.99 });
  const abort = new AbortController();
  const response = await pool.get(server.url, { stream: true, signal: abort.signal });
  expect(response.attempts[1]?.backoff_ms).toBeGreaterThan(60);
  const iterator = response.body[Symbol.asyncIterator]();
  await iterator.next();
  const next = rejection(iterator.next());
  setTimeout(() => abort.abort(), 60);
  expect(await next).toMatchObject({ name: "AbortError" });
});
