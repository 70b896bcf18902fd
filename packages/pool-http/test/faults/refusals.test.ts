/** Servers that answer "not now" or "elsewhere". */
import { expect, test } from "vitest";
import { HttpPool, HttpRedirectError } from "../../src/index.ts";
import {
  byPath,
  inTurn,
  redirect,
  redirectLoop,
  reply,
  retryAfter,
  startFaultServer,
  waves,
} from "../../src/testing.ts";
import { rejection } from "../support/fault-server.ts";
import { expectWhole } from "../support/whole.ts";

const fast = { retryBaseMs: 1, retryCapMs: 1 };
const HOUR_MS = 3_600_000;

test.each<[string, number | Date | string]>([
  ["0 s", 0],
  ["a date in the past", new Date(Date.now() - HOUR_MS)],
  ["a negative number", -5],
  ["a fraction", 1.5],
  ["garbage", "as soon as possible"],
  ["nothing", ""],
])("Retry-After with %s does not hold up the retry", async (_name, value) => {
  await using server = await startFaultServer({ requests: inTurn(retryAfter(value), reply(200)) });
  await using pool = new HttpPool(fast);
  const response = await pool.get(server.url, { timeoutMs: 900 });
  expect(response.attempts.map(({ status }) => status)).toEqual([503, 200]);
  await expectWhole(pool, server);
});

test.each<[string, number | Date]>([
  ["seconds", 60],
  ["a date", new Date(Date.now() + HOUR_MS)],
  ["more seconds than there are", 1e15],
])("Retry-After with %s beyond the deadline hands out the refusal at once", async (_name, value) => {
  await using server = await startFaultServer({ requests: retryAfter(value, { status: 429 }) });
  await using pool = new HttpPool(fast);
  const response = await pool.get(server.url);
  expect([response.status, await response.text(), response.attempts.length]).toEqual([429, "try later", 1]);
  expect(server.requestCount).toBe(1);
  await expectWhole(pool, server);
});

test("waves of 429 and 503 cost no GET, and every POST is sent once", async () => {
  const scripts = waves([5, reply(200)], [2, retryAfter(0, { status: 429 })], [5, reply(200)], [3, retryAfter(0)]);
  await using server = await startFaultServer({ requests: scripts });
  await using pool = new HttpPool({ ...fast, maxRetries: 20, maxConnsPerHost: 4 });
  const gets = await Promise.all(Array.from({ length: 100 }, () => pool.get(server.url)));
  expect(gets.map(({ status }) => status)).toEqual(Array(100).fill(200));
  const before = server.requestCount;
  const posts = await Promise.all(Array.from({ length: 50 }, (_, i) => pool.post(server.url, String(i))));
  expect(server.requestCount - before).toBe(50);
  expect(new Set(posts.map(({ status }) => status))).toEqual(new Set([200, 429, 503]));
  expect(server.connections.peak).toBeLessThanOrEqual(4);
  await expectWhole(pool, server);
});

test.each([
  [301, "GET"],
  [307, "POST"],
])("a loop of redirects (%s) ends at maxRedirects", async (status, method) => {
  await using server = await startFaultServer({ requests: redirectLoop(["/a", "/b", "/c"], { status }) });
  await using pool = new HttpPool({ ...fast, maxRedirects: 7 });
  const error = await rejection<HttpRedirectError>(pool.do({ method, url: `${server.url}/a` }));
  expect(error).toBeInstanceOf(HttpRedirectError);
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_REDIRECT", phase: "headers" });
  expect([error.attempts.length, server.requestCount, server.connections.accepted]).toEqual([8, 8, 1]);
  await expectWhole(pool, server);
});

test("a loop over two servers ends, too, and leaves credentials behind on the way to the second one", async () => {
  await using a = await startFaultServer();
  await using b = await startFaultServer({ requests: redirect(`${a.url}/`) });
  a.script(redirect(`${b.url}/`));
  await using pool = new HttpPool({ maxRedirects: 5 });
  const error = await rejection(pool.get(a.url, { headers: { authorization: "secret" } }));
  expect(error).toBeInstanceOf(HttpRedirectError);
  expect([a.requestCount, b.requestCount]).toEqual([3, 3]);
  expect([...a.requests, ...b.requests].filter(({ headers }) => "authorization" in headers)).toEqual([a.requests[0]]);
  await expectWhole(pool, a, b);
});

test("a redirect to nowhere is an error, and one to garbage is handed out or refused, but nothing hangs", async () => {
  await using server = await startFaultServer({
    requests: byPath({
      "/scheme": redirect("ftp://127.0.0.1/"),
      "/garbage": redirect("http://[nonsense"),
      "/empty": redirect(""),
      "/self": redirect("#here"),
      "*": reply(200),
    }),
  });
  await using pool = new HttpPool({ maxRedirects: 3 });
  for (const path of ["/scheme", "/garbage", "/empty", "/self"]) {
    const outcome = await pool.get(server.url + path).catch((error: unknown) => error);
    expect(outcome instanceof Error ? (outcome as Error & { code: string }).code : outcome).toSatisfy(
      (value: unknown) => value === "ERR_VG_HTTP_REDIRECT" || (value as { status: number }).status === 302,
    );
  }
  await expectWhole(pool, server);
});
