/** How origins share `maxTotalConns`, and what a long queue costs. */
import { expect, test } from "vitest";
import { reply, resetBeforeHeaders, startFaultServer } from "../src/testing.ts";
import { HttpPool } from "../src/index.ts";
import { okServer, poolClosedTo, rejection, turns } from "./support/fault-server.ts";
import { expectRoomBeside } from "./support/load.ts";

test("an origin whose queue never empties does not starve another one", async () => {
  await using busy = await okServer();
  await using quiet = await okServer();
  await using pool = new HttpPool({ maxTotalConns: 2, maxConnsPerHost: 2 });
  await expectRoomBeside(pool, busy, quiet);
});

test("a single origin keeps its connections when maxTotalConns makes its requests wait", async () => {
  await using server = await okServer();
  await using pool = new HttpPool({ maxTotalConns: 2 });
  for (let round = 0; round < 20; round++) await Promise.all([1, 2, 3].map(() => pool.get(server.url)));
  expect(pool.getStats()).toMatchObject({ connect_count: 2, success_count: 60 });
});

test("two busy origins come to equal shares and stay there", async () => {
  await using a = await okServer();
  await using b = await okServer();
  await using pool = new HttpPool({ maxTotalConns: 4, maxConnsPerHost: 4 });
  const load = (url: string) => Array.from({ length: 100 }, () => pool.get(url));
  await Promise.all([...load(a.url), ...load(b.url)]);
  // 4 at first, 2 of which move; a few more as one of the queues runs dry.
  expect(pool.getStats().connect_count).toBeLessThanOrEqual(10);
});

test("destroy takes dials off the books", async () => {
  const pool = new HttpPool({ lookup: () => {} });
  const request = rejection(pool.get("http://api.example.test/"));
  await turns(1);
  expect(pool.getStats().open_connections).toBe(1);
  pool.destroy();
  await request;
  await poolClosedTo(pool, 0);
  expect(pool.getStats()).toMatchObject({ open_connections: 0, queued: 0, in_flight: 0 });
});

test("a spare connection that the server has dropped costs no backoff, though it never carried a request", async () => {
  await using server = await startFaultServer({
    requests: ({ connection, onConnection }) =>
      connection === 1 && onConnection === 0 ? resetBeforeHeaders() : reply(200),
  });
  let dials = 0;
  let overtaken = (): void => {};
  const lookup = (_: string, options: { all?: boolean | undefined }, callback: (...args: never[]) => void): void => {
    const answer = callback as (...args: unknown[]) => void;
    const address = options.all === true ? [[{ address: "127.0.0.1", family: 4 }]] : ["127.0.0.1", 4];
    // The second dial comes late, when its request has been served already.
    if (dials++ === 1) overtaken = () => answer(null, ...address);
    else setImmediate(() => answer(null, ...address));
  };
  await using pool = new HttpPool({ lookup, maxConnsPerHost: 2, retryBaseMs: 20_000 });
  const url = `http://api.example.test:${server.port}/`;
  await Promise.all([pool.get(url), pool.get(url)]);
  overtaken();
  while (pool.getStats().idle_connections < 2) await turns(1);
  await Promise.all([pool.get(url), pool.get(url)]);
  expect(pool.getStats()).toMatchObject({ success_count: 4, retry_count: 0, stale_resends: 1 });
});
