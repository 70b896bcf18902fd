/** Servers that end connections which the pool holds for good. */
import { expect, test } from "vitest";
import { HttpPool } from "../../src/index.ts";
import {
  closeAfterResponse,
  inTurn,
  onEachConnection,
  reply,
  resetAfterResponse,
  resetBeforeHeaders,
  startFaultServer,
} from "../../src/testing.ts";
import { expectWhole } from "../support/whole.ts";

test.each([
  ["one after another", 1],
  ["ten at a time", 10],
])("a server that resets 5 ms after each response answers 1000 of 1000 GETs, %s", async (_name, callers) => {
  await using server = await startFaultServer({ requests: resetAfterResponse(5) });
  await using pool = new HttpPool();
  let left = 1000;
  const caller = async (): Promise<void> => {
    while (left-- > 0) expect(await (await pool.get(server.url)).text()).toBe("ok");
  };
  await Promise.all(Array.from({ length: callers }, caller));
  expect(pool.getStats()).toMatchObject({ request_count: 1000, success_count: 1000, error_count: 0, retry_count: 0 });
  await expectWhole(pool, server);
});

test("the same without any retry, each GET when the reset is just due", async () => {
  await using server = await startFaultServer({ requests: resetAfterResponse(5) });
  await using pool = new HttpPool({ maxRetries: 0 });
  for (let i = 0; i < 100; i++) {
    expect((await pool.get(server.url)).status).toBe(200);
    await new Promise((resolve) => setTimeout(resolve, 4 + (i % 3)));
  }
  expect(pool.getStats()).toMatchObject({ success_count: 100, error_count: 0, retry_count: 0 });
  await expectWhole(pool, server);
});

test.each([
  [1, 1],
  [1, 4],
  [2, 8],
  [20, 60],
])(
  "a server that hangs up after each response, unannounced, fails no GET (connections: %i, callers: %i)",
  async (maxConnsPerHost, callers) => {
    await using server = await startFaultServer({ requests: closeAfterResponse() });
    await using pool = new HttpPool({ maxConnsPerHost, maxRetries: 0 });
    await Promise.all(
      Array.from({ length: callers }, async () => {
        for (let i = 0; i < 20; i++) expect((await pool.get(server.url)).status).toBe(200);
      }),
    );
    expect(pool.getStats()).toMatchObject({ success_count: 20 * callers, error_count: 0 });
    expect(server.connections.peak).toBeLessThanOrEqual(maxConnsPerHost);
    await expectWhole(pool, server);
  },
);

test("a request that met one dead connection gets a fresh one, at the first resend", async () => {
  await using server = await startFaultServer({ requests: onEachConnection(reply(200), resetBeforeHeaders()) });
  await using pool = new HttpPool({ maxRetries: 0, maxIdleConnsPerHost: 20 });
  await Promise.all(Array.from({ length: 20 }, () => pool.get(server.url)));
  const response = await pool.get(server.url);
  expect(response.attempts.map(({ cause }) => cause)).toEqual(["first", "resend"]);
  expect(pool.getStats()).toMatchObject({ stale_resends: 1, open_connections: 1 });
  await expectWhole(pool, server);
});

test("a restart that resets every idle connection costs no GET and no retry", async () => {
  await using server = await startFaultServer();
  await using pool = new HttpPool({ maxRetries: 0, maxIdleConnsPerHost: 20 });
  for (let round = 0; round < 10; round++) {
    await Promise.all(Array.from({ length: 20 }, () => pool.get(server.url)));
    server.resetConnections();
    // No pause: some of these requests go out before the pool has heard of the resets.
    const responses = await Promise.all(Array.from({ length: 20 }, () => pool.get(server.url)));
    expect(responses.every(({ status }) => status === 200)).toBe(true);
  }
  expect(pool.getStats()).toMatchObject({ success_count: 400, error_count: 0, retry_count: 0 });
  expect(server.connections.peak).toBeLessThanOrEqual(20);
  await expectWhole(pool, server);
});

test("a POST is not repeated where the connection died under it, not even one that was reused", async () => {
  await using server = await startFaultServer({ requests: inTurn(reply(200), resetBeforeHeaders(), reply(200)) });
  await using pool = new HttpPool({ retryBaseMs: 1 });
  await pool.get(server.url);
  await expect(pool.post(server.url, "charge")).rejects.toMatchObject({ code: "ERR_VG_HTTP_NETWORK" });
  expect(server.requestCount).toBe(2);
  await expectWhole(pool, server);
});
