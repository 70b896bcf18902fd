import { beforeAll, describe, expect, test } from "vitest";
import { ConnectError, ConnectionLostError, QueryTimeoutError, type DbPool } from "../src/index.ts";
import type { FaultProxy } from "./fault-proxy.ts";
import { PIPELINING, outcome, useFaults } from "./fault-support.ts";
import { until } from "./support.ts";
import { serveTls } from "./tls-server.ts";

describe.each(PIPELINING)("%s, by TLS", (_mode, mode) => {
  const faults = useFaults(mode);
  let ca: string;

  beforeAll(async () => {
    ({ cert: ca } = await serveTls(faults.postgres.server));
  });

  const securePool = (proxy: FaultProxy): DbPool =>
    faults.pool({ through: proxy, ssl: { ca }, maxOpenConns: 1, connectTimeoutMs: 300 });

  test("records that come byte by byte are read as any others, from the handshake on", async () => {
    const proxy = await faults.proxy();
    proxy.onLink = (link) => {
      link.toClient.drips = true;
      link.toServer.drips = true;
    };
    const pool = faults.pool({ through: proxy, ssl: { ca }, maxOpenConns: 1 });
    for (let n = 0; n < 5; n++) {
      const { rows } = await pool.query("select n from generate_series(1, $1::int) as n", [20]);
      expect(rows).toEqual(Array.from({ length: 20 }, (_, index) => ({ n: index + 1 })));
    }
    const { rows } = await pool.query("select ssl from pg_stat_ssl where pid = pg_backend_pid()");
    expect(rows).toEqual([{ ssl: true }]);
  });

  test("a dial that is cut anywhere in the handshake or the login is a failed dial", async () => {
    const proxy = await faults.proxy();
    const pool = securePool(proxy);
    for (const bytes of [0, 1, 2, 40, 300, 700, 1_000]) {
      for (const end of ["reset", "close"] as const) {
        proxy.onLink = (link) => void link.toClient.stopAfter(bytes).then(() => link[end]());
        expect(await outcome(pool.query("select 1", [], { timeoutMs: 5_000 }))).toBeInstanceOf(ConnectError);
        // A dial that succeeds ends the growth of the pause before the next one.
        proxy.onLink = undefined;
        (await pool.acquire()).discard();
      }
    }
    await until("the sockets are closed", () => proxy.open === 0);
  });

  test("a handshake that stops halfway is given up, and its socket is closed", async () => {
    const proxy = await faults.proxy();
    const pool = securePool(proxy);
    proxy.onLink = (link) => void link.toClient.stopAfter(200);
    expect(await outcome(pool.query("select 1", [], { timeoutMs: 5_000 }))).toBeInstanceOf(ConnectError);
    await until("the socket is closed", () => proxy.open === 0);
  });

  test.each(["reset", "close", "halfClose", "garbage"] as const)(
    "a connection that ends in the middle of a record (%s) fails its query",
    async (end) => {
      const proxy = await faults.proxy();
      const pool = securePool(proxy);
      await pool.query("select 1");
      const link = [...proxy.links].at(-1);
      const stopped = link?.toClient.stopAfter(30).then(() => {
        if (end === "garbage") link.toClient.inject(Buffer.alloc(5_000, 0x42));
        else link[end]();
      });
      expect(await outcome(pool.query("select repeat('x', 1000)"))).toBeInstanceOf(ConnectionLostError);
      await stopped;
      expect(await pool.queryRow("select 1 as n")).toEqual({ n: 1 });
    },
  );

  test("a query whose answer is swallowed is given up at its limit", async () => {
    const proxy = await faults.proxy();
    const pool = securePool(proxy);
    await pool.query("select 1");
    for (const link of proxy.links) link.blackHole();
    expect(await outcome(pool.query("select 1", [], { timeoutMs: 50 }))).toBeInstanceOf(QueryTimeoutError);
    expect(await pool.queryRow("select 1 as n")).toEqual({ n: 1 });
  });

  test("a peer that never closes leaves no socket on this side", async () => {
    const proxy = await faults.proxy();
    const pool = securePool(proxy);
    (await pool.acquire()).discard();
    (await pool.acquire()).release();
    for (const link of proxy.links) link.neverCloses = true;
    expect(await pool.close({ deadlineMs: 50 })).toMatchObject({ drained: true });
    await until("the pool's side of each is closed", () => proxy.open === 0);
  });
});
