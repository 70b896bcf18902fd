import { expect, test } from "vitest";
import { HttpPool } from "../src/index.ts";
import { closeAfterResponse, reply, startFaultServer } from "../src/testing.ts";

test("POSTs one after the other to a server that closes after each answer, and does not say so, all arrive", async () => {
  await using server = await startFaultServer({ requests: closeAfterResponse() });
  await using pool = new HttpPool({ maxRetries: 0 });
  for (let n = 0; n < 200; n++) expect((await pool.post(server.url, "x")).status).toBe(200);
  expect(server.requestCount).toBe(200);
});

test("a POST that is given up before it leaves does not leave, and its connection serves the next", async () => {
  await using server = await startFaultServer({ requests: reply(200) });
  await using pool = new HttpPool({ maxConnsPerHost: 1 });
  await pool.post(server.url, "first");
  const abort = new AbortController();
  const second = pool.post(server.url, "second", { signal: abort.signal });
  abort.abort();
  await expect(second).rejects.toMatchObject({ name: "AbortError" });
  await pool.post(server.url, "third");
  expect(server.requests.map(({ body }) => body.toString())).toEqual(["first", "third"]);
  expect(server.connections.accepted).toBe(1);
  expect(pool.getStats()).toMatchObject({ in_flight: 0, open_connections: 1 });
});
