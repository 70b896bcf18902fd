/** Streams and iterables that are sent: they are closed whatever becomes of the request. */
import { Readable } from "node:stream";
import { expect, test } from "vitest";
import { HttpPool, type HttpBodyValue } from "../src/index.ts";
import { closedPort, faultServer, httpServer, rejection, reply, turns } from "./support/fault-server.ts";

const endless = () => new Readable({ read: () => {} });

test("a refused port opens no source, and closes the one that it was given", async () => {
  const url = `http://127.0.0.1:${await closedPort()}/`;
  await using pool = new HttpPool({ maxRetries: 2, retryBaseMs: 1 });
  let made = 0;
  await rejection(pool.post(url, () => ((made += 1), endless())));
  expect(made).toBe(0);
  const given = endless();
  await rejection(pool.post(url, given));
  expect(given.destroyed).toBe(true);
});

test("a deadline in the queue opens no source, and closes the one that it was given", async () => {
  await using server = await faultServer(() => {});
  await using pool = new HttpPool({ maxConnsPerHost: 1 });
  const first = rejection(pool.get(server.url, { timeoutMs: 60 }));
  let made = 0;
  const given = endless();
  const [a, b] = [
    rejection(pool.post(server.url, () => ((made += 1), endless()), { timeoutMs: 20 })),
    rejection(pool.post(server.url, given, { timeoutMs: 20 })),
  ];
  expect(await a).toMatchObject({ phase: "queue" });
  expect(await b).toMatchObject({ phase: "queue" });
  expect([made, given.destroyed]).toEqual([0, true]);
  await first;
});

test("an upload that is given up closes its source, even one that gives nothing", async () => {
  await using server = await faultServer(() => {});
  await using pool = new HttpPool();
  const stalled = endless();
  stalled.push("x");
  let cancelled: () => void = () => {};
  const wasCancelled = new Promise<void>((resolve) => {
    cancelled = resolve;
  });
  const web = new ReadableStream<Uint8Array>({ cancel: () => cancelled() });
  let returned: () => void = () => {};
  const wasReturned = new Promise<void>((resolve) => {
    returned = resolve;
  });
  const iterable: AsyncIterable<string> = {
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise(() => {}),
      return: () => (returned(), Promise.resolve({ done: true, value: undefined })),
    }),
  };
  const fromFunction: Readable[] = [];
  const bodies = [stalled, web, iterable, () => (fromFunction.push(endless()), fromFunction[0] as Readable)];
  for (const body of bodies) {
    expect(await rejection(pool.post(server.url, body, { timeoutMs: 30, maxRetries: 0 }))).toMatchObject({
      limit: "timeoutMs",
    });
  }
  await Promise.all([wasCancelled, wasReturned]);
  expect([stalled.destroyed, fromFunction.map((made) => made.destroyed)]).toEqual([true, [true]]);
});

test("an early answer closes the source that it interrupts", async () => {
  await using server = await httpServer((_request, response) => {
    response.statusCode = 413;
    response.end("too much");
  });
  await using pool = new HttpPool();
  const source = new Readable({ read: () => setTimeout(() => source.push("x"), 1) });
  expect((await pool.post(server.url, source)).status).toBe(413);
  await turns(2);
  expect(source.destroyed).toBe(true);
});

test("what a function makes too late is closed", async () => {
  await using server = await faultServer((socket) => socket.write(reply(200)));
  await using pool = new HttpPool();
  const late = endless();
  let make: (body: HttpBodyValue) => void = () => {};
  const making = new Promise<HttpBodyValue>((resolve) => {
    make = resolve;
  });
  expect(await rejection(pool.post(server.url, () => making, { timeoutMs: 30 }))).toMatchObject({ phase: "queue" });
  make(late);
  await turns(2);
  expect([late.destroyed, server.requests]).toEqual([true, []]);
});

test("a source that fails before it is read does not end the process", async () => {
  await using server = await faultServer(() => {});
  await using pool = new HttpPool({ maxConnsPerHost: 1 });
  const first = rejection(pool.get(server.url, { timeoutMs: 30 }));
  const source = endless();
  const sent = rejection(pool.post(server.url, source));
  const gone = new Error("no such file");
  source.destroy(gone);
  await first;
  expect(await sent).toMatchObject({ code: "ERR_VG_HTTP_REQUEST", cause: gone });
});

test("a chunk that is neither text nor bytes is the caller's mistake and not retried", async () => {
  await using server = await faultServer(() => {});
  await using pool = new HttpPool({ retryBaseMs: 1 });
  async function* wrong(): AsyncGenerator<string> {
    yield 5 as unknown as string;
  }
  const error = await rejection(pool.put(server.url, () => wrong()));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_REQUEST" });
  expect((error.cause as Error).message).toBe("a chunk of the body must be a string or bytes, got 5");
  expect(pool.getStats().retry_count).toBe(0);
});

test("a Map is refused with the way to send it", async () => {
  await using pool = new HttpPool();
  const error = await rejection(pool.post("http://127.0.0.1:1", new Map()));
  expect(error.message).toContain("Object.fromEntries(map)");
});
