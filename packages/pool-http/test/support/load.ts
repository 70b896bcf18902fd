/** Load on two servers at once, random or steady, and what must hold of it over HTTP/1.1 and HTTP/2 alike. */
import type { Socket } from "node:net";
import fc from "fast-check";
import { expect } from "vitest";
import type { HttpPool, HttpTlsOptions } from "../../src/index.ts";
import { faultServer, reply, turns, type FaultServer, type TestServer } from "./fault-server.ts";

/** An HTTP/1.1 server that reads from the path how it is to behave and which request it is: "/slow/3". */
export function unreliableServer(): Promise<FaultServer> {
  return faultServer((socket, { line }) => behave(socket, /\/([a-z-]+)/.exec(line)?.[1]));
}

function behave(socket: Socket, behaviour: string | undefined): void {
  switch (behaviour) {
    case "slow":
      setTimeout(() => socket.write(reply(200)), 3);
      break;
    case "reset":
      socket.resetAndDestroy();
      break;
    case "busy":
      socket.write(reply(503));
      break;
    case "late-reset":
      socket.write(reply(200), () => setImmediate(() => socket.resetAndDestroy()));
      break;
    case "close":
      socket.end(reply(200, "ok", { connection: "close" }));
      break;
    case "silent":
      break;
    case "half":
      socket.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf");
      break;
    case "large":
      socket.write(reply(200, "x".repeat(200_000)));
      break;
    default:
      socket.write(reply(200));
  }
}

/** A random request for servers that have such paths. */
export function randomRequest(behaviours: readonly string[]): fc.Arbitrary<LoadRequest> {
  return fc.record({
    server: fc.nat(1),
    behaviour: fc.constantFrom(...behaviours),
    method: fc.constantFrom("GET", "POST"),
    stream: fc.boolean(),
    abortAfterTurns: fc.option(fc.nat(6), { nil: undefined }),
    startAfterTurns: fc.nat(6),
  });
}

export interface LoadRequest {
  readonly server: number;
  readonly behaviour: string;
  readonly method: string;
  readonly stream: boolean;
  readonly abortAfterTurns: number | undefined;
  readonly startAfterTurns: number;
}

/** What else is asked of the pool meanwhile. */
export const randomNudge: fc.Arbitrary<Nudge> = fc.record({
  kind: fc.constantFrom("preconnect", "closeIdle", "setTls"),
  server: fc.nat(1),
  at: fc.nat(8),
});

export interface Nudge {
  readonly kind: "preconnect" | "closeIdle" | "setTls";
  readonly server: number;
  readonly at: number;
}

export interface Load {
  readonly pool: HttpPool;
  readonly servers: readonly TestServer[];
  readonly requests: readonly LoadRequest[];
  readonly nudges: readonly Nudge[];
  readonly tls: HttpTlsOptions;
  readonly limits: {
    readonly maxConnsPerHost: number;
    readonly maxTotalConns: number;
    readonly maxIdleConns: number;
    readonly maxIdleConnsPerHost: number;
  };
}

/** Sends it and closes the pool: every request ends, the limits hold on the way, and the books balance at the end. */
export async function playLoad({ pool, servers, requests, nudges, tls, limits }: Load): Promise<void> {
  const urlOf = (server: number): string => (servers[server] as TestServer).url;
  const nudged = nudges.map(async ({ kind, server, at }) => {
    await turns(at);
    if (kind === "preconnect") {
      // The other server may have all that there is.
      const open = await pool.preconnect(urlOf(server), 3, { timeoutMs: 10_000 }).catch(() => 0);
      expect(open).toBeLessThanOrEqual(limits.maxConnsPerHost);
    } else if (kind === "closeIdle") pool.closeIdleConnections(urlOf(server));
    else pool.setTls({ ...tls });
  });
  await Promise.all(
    requests.map(async ({ server, behaviour, method, stream, abortAfterTurns, startAfterTurns }, id) => {
      await turns(startAfterTurns);
      const abort = new AbortController();
      const url = `${urlOf(server)}/${behaviour}/${id}`;
      const body = method === "POST" ? "x" : undefined;
      const ended = pool
        .do({ method, url, body, stream, signal: abort.signal, bodyGapTimeoutMs: 20 })
        .then((response) => response.text())
        .catch((error: unknown) => error);
      if (abortAfterTurns !== undefined) void turns(abortAfterTurns).then(() => abort.abort(new Error("abort")));
      const { open_connections, per_origin } = pool.getStats();
      expect(open_connections).toBeLessThanOrEqual(limits.maxTotalConns);
      for (const origin of Object.values(per_origin)) {
        expect(origin.open_connections).toBeLessThanOrEqual(limits.maxConnsPerHost);
      }
      await ended;
    }),
  );
  await Promise.all(nudged);
  await turns(4);
  // A dial that nobody waits for any more may end in this very turn, at whose end the surplus goes.
  for (let i = 0; i < 10 && hasSurplus(pool, limits); i++) await turns(1);
  await expectBalanced(pool, requests.length, limits);
}

function hasSurplus(pool: HttpPool, { maxIdleConns, maxIdleConnsPerHost }: Load["limits"]): boolean {
  const { idle_connections, per_origin } = pool.getStats();
  if (idle_connections > maxIdleConns) return true;
  return Object.values(per_origin).some((origin) => origin.idle_connections > maxIdleConnsPerHost);
}

async function expectBalanced(pool: HttpPool, requestCount: number, limits: Load["limits"]): Promise<void> {
  const stats = pool.getStats();
  expect(stats).toMatchObject({ in_flight: 0, queued: 0, request_count: requestCount });
  expect(stats.success_count + stats.error_count + stats.canceled_count).toBe(requestCount);
  expect(stats.attempt_count).toBeLessThanOrEqual(stats.request_count + stats.retry_count + stats.stale_resends);
  expect(stats.idle_connections).toBeLessThanOrEqual(limits.maxIdleConns);
  const origins = Object.values(stats.per_origin);
  for (const origin of origins) expect(origin.idle_connections).toBeLessThanOrEqual(limits.maxIdleConnsPerHost);
  const summed = ["request_count", "attempt_count", "retry_count", "stale_resends", "total_bytes"] as const;
  for (const key of [...summed, "success_count", "error_count", "timeout_count"] as const) {
    expect([key, origins.reduce((total, origin) => total + origin[key], 0)]).toEqual([key, stats[key]]);
  }
  expect(await pool.close({ deadlineMs: 0 })).toMatchObject({ killed: 0 });
  const { open_connections, connect_count, closed_by_reason } = pool.getStats();
  const closed = Object.values(closed_by_reason).reduce((total, count) => total + count, 0);
  expect([open_connections, closed]).toEqual([0, connect_count]);
}

/** Six callers ask `busy` without a pause until `quiet` has answered, too. */
export async function expectRoomBeside(pool: HttpPool, busy: TestServer, quiet: TestServer): Promise<void> {
  const state = { answered: false };
  let rounds = 0;
  const load = Array.from({ length: 6 }, async () => {
    for (; !state.answered && rounds < 5000; rounds++) await pool.get(busy.url);
  });
  await pool.get(busy.url);
  expect((await pool.get(quiet.url)).status).toBe(200);
  state.answered = true;
  await Promise.all(load);
  expect(rounds).toBeLessThan(5000);
  expect(pool.getStats()).toMatchObject({ error_count: 0 });
}
