import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { expect, test } from "vitest";
import { channels } from "../src/diagnostics.ts";
import {
  HttpPool,
  type HttpAttemptMessage,
  type HttpQueueMessage,
  type HttpRequestEndMessage,
  type HttpRequestStartMessage,
} from "../src/index.ts";
import { closedPort, faultServer, rejection, reply, turns } from "./support/fault-server.ts";

const NAMES = ["request:start", "request:end", "request:error", "queue", "attempt", "retry", "connect", "remove"];

/** All that is published about the pool of that name. */
function listen(pool: string) {
  const messages: [string, Record<string, unknown>][] = [];
  const listeners = NAMES.map((name) => {
    const listener = (message: unknown) => {
      if ((message as { pool: string }).pool === pool) messages.push([name, message as Record<string, unknown>]);
    };
    subscribe(`vg:pool-http:${name}`, listener);
    return [name, listener] as const;
  });
  return {
    messages,
    of: <T>(name: string) => messages.filter(([from]) => from === name).map(([, message]) => message as T),
    [Symbol.dispose]() {
      for (const [name, listener] of listeners) unsubscribe(`vg:pool-http:${name}`, listener);
    },
  };
}

test("a request tells its start, its dial, each attempt, its retries and its end, in this order", async () => {
  await using server = await faultServer((socket, { number }) => socket.write(reply(number === 0 ? 503 : 200)));
  using heard = listen("told");
  const pool = new HttpPool({ name: "told", retryBaseMs: 1 });
  const response = await pool.get(`${server.url}/path?token=hunter2`, { headers: { authorization: "hunter3" } });
  await pool.close();
  expect(heard.messages.map(([name]) => name)).toEqual([
    "request:start",
    "connect",
    "queue",
    "attempt",
    "retry",
    "attempt",
    "request:end",
    "remove",
  ]);
  const [start] = heard.of<HttpRequestStartMessage>("request:start");
  const about = { pool: "told", id: start?.id, method: "GET", origin: server.url, path: "/path" };
  expect(start).toEqual(about);
  expect(heard.of("connect")).toMatchObject([{ origin: server.url, tlsMs: 0, errorCode: undefined }]);
  expect(heard.of<HttpQueueMessage>("queue")).toMatchObject([{ ...about, served: true }]);
  expect(heard.of<HttpAttemptMessage>("attempt").map(({ attempt }) => attempt)).toEqual(response.attempts);
  expect(heard.of("retry")).toEqual([{ ...about, retry: 1, cause: "rejected", delayMs: expect.any(Number) }]);
  const [end] = heard.of<HttpRequestEndMessage>("request:end");
  expect(end).toEqual({
    ...about,
    status: 200,
    isError: false,
    durationMs: expect.any(Number),
    attempts: response.attempts,
  });
  expect(heard.of("remove")).toEqual([{ pool: "told", origin: server.url, reason: "pool_closed", served: 2 }]);
  expect(JSON.stringify(heard.messages)).not.toContain("hunter");
});

test("a request that gets no response tells its error, with the attempts; one that was given up says so", async () => {
  using heard = listen("failing");
  await using pool = new HttpPool({ name: "failing", maxRetries: 1, retryBaseMs: 1 });
  const url = `http://user:hunter2@127.0.0.1:${await closedPort()}/a?token=hunter3`;
  await rejection(pool.get(url));
  const abort = new AbortController();
  const given = rejection(pool.get(url, { signal: abort.signal }));
  abort.abort();
  await given;
  const cause = { errorCode: "ECONNREFUSED", phase: "connect", canceled: false };
  expect(heard.of("request:error")).toMatchObject([
    { ...cause, path: "/a", attempts: [{ number: 1 }, { number: 2, cause: "retry" }] },
    { errorCode: "ABORT_ERR", canceled: true },
  ]);
  expect(heard.of("connect")).toMatchObject([{ errorCode: "ECONNREFUSED" }, { errorCode: "ECONNREFUSED" }]);
  expect(heard.of("request:end")).toEqual([]);
  expect(JSON.stringify(heard.messages)).not.toContain("hunter");
});

test("a stream ends with its last byte, and is given up where its reader stops", async () => {
  await using server = await faultServer((socket, { line }) => {
    if (line.includes("/whole")) socket.write(reply(200, "body"));
    else socket.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart");
  });
  using heard = listen("streaming");
  await using pool = new HttpPool({ name: "streaming" });
  await (await pool.get(`${server.url}/whole`, { stream: true })).text();
  const part = await pool.get(`${server.url}/part`, { stream: true });
  for await (const _chunk of part.body) break;
  await turns(2);
  expect(heard.of("request:end")).toMatchObject([{ path: "/whole", status: 200 }]);
  expect(heard.of("request:error")).toMatchObject([
    { path: "/part", errorCode: "ABORT_ERR", phase: "body", canceled: true, attempts: [{ status: 200 }] },
  ]);
});

test("after a redirect the messages name the request that followed from it, under the same id", async () => {
  await using target = await faultServer((socket) => socket.write(reply(200)));
  await using server = await faultServer((socket) =>
    socket.write(reply(303, "", { location: `${target.url}/there?secret=hunter2` })),
  );
  using heard = listen("redirected");
  await using pool = new HttpPool({ name: "redirected" });
  await pool.post(`${server.url}/here`, "x");
  const [start] = heard.of<HttpRequestStartMessage>("request:start");
  expect(heard.of("request:end")).toMatchObject([
    { id: start?.id, method: "GET", origin: target.url, path: "/there", attempts: [{ status: 303 }, { status: 200 }] },
  ]);
  expect(JSON.stringify(heard.messages)).not.toContain("hunter");
});

test("without subscribers nothing is published and no message made", async () => {
  await using server = await faultServer((socket) => socket.write(reply(200)));
  await using pool = new HttpPool();
  const published: unknown[] = [];
  const real = Object.values(channels).map((channel) => [channel, channel.publish] as const);
  for (const [channel] of real) channel.publish = (message: unknown) => void published.push(message);
  try {
    await pool.get(server.url);
    await rejection(pool.get(`http://127.0.0.1:${await closedPort()}/`, { maxRetries: 0 }));
  } finally {
    for (const [channel, publish] of real) channel.publish = publish;
  }
  expect(published).toEqual([]);
});
