/** Bodies that only the end of the connection delimits. */
import { expect, test } from "vitest";
import { HttpNetworkError, HttpPool } from "../../src/index.ts";
import { body, close, head, hold, reset, stall, startFaultServer, type Script } from "../../src/testing.ts";
import { rejection } from "../support/fault-server.ts";

const part = (...rest: Exclude<Script, readonly unknown[]>[]): Script => [
  head(200, { connection: "close" }),
  body("half of it"),
  hold("read"),
  ...rest,
];

test.each(["http", "https"] as const)(
  "a body without a length that a reset cuts off is not complete: %s",
  async (protocol) => {
    await using server = await startFaultServer({ protocol, requests: part(reset()) });
    await using pool = new HttpPool({ maxRetries: 0, tls: server.ca === "" ? {} : { ca: server.ca } });
    const response = await pool.get(server.url, { stream: true });
    const reading = (async () => {
      for await (const _piece of response.body) server.release("read");
    })();
    const error = await rejection(reading);
    expect(error).toBeInstanceOf(HttpNetworkError);
    expect(error.message).toContain("ECONNRESET");
    expect(pool.getStats()).toMatchObject({ error_count: 1, success_count: 0 });
    expect(await rejection(pool.get(server.url))).toBeInstanceOf(HttpNetworkError);
    const { body: dispatched } = await pool.dispatcher
      .request({ origin: server.url, path: "/", method: "GET" })
      .catch(() => ({ body: undefined }));
    if (dispatched !== undefined) await rejection(dispatched.text());
  },
);

test("one that ends in order is complete", async () => {
  await using server = await startFaultServer({ requests: part(close()) });
  await using pool = new HttpPool();
  server.release("read");
  expect(await (await pool.get(server.url)).text()).toBe("half of it");
});

/** An uncaught error, which would end the process, fails the run. */
test.each(["a signal", "a deadline", "discard", "the pool's end"])(
  "giving it up ends no more than it: %s",
  async (how) => {
    await using server = await startFaultServer({ requests: [head(200), body("half of it"), stall()] });
    const pool = new HttpPool({ maxRetries: 0 });
    if (how === "a deadline") await rejection(pool.get(server.url, { timeoutMs: 30 }));
    else {
      const abort = new AbortController();
      const response = await pool.get(server.url, { stream: true, signal: abort.signal });
      const pieces = response.body[Symbol.asyncIterator]();
      await pieces.next();
      const next = rejection(pieces.next());
      if (how === "a signal") abort.abort();
      else if (how === "discard") void response.discard();
      else await pool.close({ deadlineMs: 1 });
      if (how !== "discard") await next;
    }
    await pool.close({ deadlineMs: 1 });
    await server.connectionsDownTo(0);
    await new Promise((resolve) => setImmediate(resolve));
  },
);
