/** Random loads against real servers: whatever happens, the limits hold, everything ends, and nothing is left. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Linked } from "../src/linked-list.ts";
import { WaitQueue } from "../src/transport/wait-queue.ts";
import { HttpPool } from "../src/index.ts";
import { ClientSockets } from "./support/client-sockets.ts";
import { faultServer, reply, turns } from "./support/fault-server.ts";

test("the wait queue behaves as a list from whose middle anyone may leave, with a mark that only moves on", () => {
  interface Item extends Linked<Item> {
    readonly id: number;
  }
  const command = fc.oneof(
    fc.constant({ kind: "push" as const }),
    fc.constant({ kind: "shift" as const }),
    fc.constant({ kind: "advance" as const }),
    fc.record({ kind: fc.constant("remove" as const), index: fc.nat(20) }),
  );
  fc.assert(
    fc.property(fc.array(command, { maxLength: 60 }), (commands) => {
      const queue = new WaitQueue<Item>();
      const model: Item[] = [];
      const gone: Item[] = [];
      let id = 0;
      const passed = new Set<Item>();
      for (const step of commands) {
        if (step.kind === "push") {
          const item: Item = { id: id++, previous: undefined, next: undefined, linked: false };
          queue.push(item);
          model.push(item);
        } else if (step.kind === "advance") {
          const next = model.find((item) => !passed.has(item));
          expect(queue.advance()).toBe(next);
          if (next !== undefined) passed.add(next);
        } else if (step.kind === "shift") {
          const item = model.shift();
          expect(queue.shift()).toBe(item);
          if (item !== undefined) gone.push(item);
        } else {
          const [item] = model.splice(step.index, 1);
          if (item !== undefined) {
            expect(queue.remove(item)).toBe(true);
            gone.push(item);
          }
        }
        for (const item of gone) expect(queue.remove(item)).toBe(false);
        expect([...queue].map((item) => item.id)).toEqual(model.map((item) => item.id));
        const marked = model.find((item) => !passed.has(item));
        expect([queue.size, queue.first, queue.marked()]).toEqual([model.length, model[0], marked]);
      }
    }),
  );
});

const BEHAVIOURS = ["ok", "slow", "reset", "busy", "late-reset", "close", "silent", "half"] as const;

test("under random faults and aborts every request ends, the limits hold and the books balance", async () => {
  const serve = () =>
    faultServer((socket, { line }) => {
      switch (/\/([a-z-]+)/.exec(line)?.[1]) {
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
        default:
          socket.write(reply(200));
      }
    });
  using sockets = new ClientSockets();
  await using a = await serve();
  await using b = await serve();
  const servers = [a, b];
  const request = fc.record({
    server: fc.nat(1),
    behaviour: fc.constantFrom(...BEHAVIOURS),
    method: fc.constantFrom("GET", "POST"),
    stream: fc.boolean(),
    abortAfterTurns: fc.option(fc.nat(5), { nil: undefined }),
    startAfterTurns: fc.nat(5),
  });
  const limits = fc.record({
    maxConnsPerHost: fc.integer({ min: 1, max: 4 }),
    extraTotal: fc.nat(4),
    maxIdleConns: fc.nat(4),
    maxIdleConnsPerHost: fc.nat(4),
    maxConnLifetimeMs: fc.option(fc.integer({ min: 1, max: 20 }), { nil: undefined }),
  });
  const nudge = fc.record({
    kind: fc.constantFrom("preconnect", "closeIdle", "setTls"),
    server: fc.nat(1),
    at: fc.nat(8),
  });
  await fc.assert(
    fc.asyncProperty(
      limits,
      fc.array(request, { maxLength: 30 }),
      fc.array(nudge, { maxLength: 4 }),
      async ({ extraTotal, ...limit }, requests, nudges) => {
        const maxTotalConns = limit.maxConnsPerHost + extraTotal;
        sockets.reset();
        limit.maxIdleConns = Math.min(limit.maxIdleConns, maxTotalConns);
        limit.maxIdleConnsPerHost = Math.min(limit.maxIdleConnsPerHost, limit.maxConnsPerHost);
        const pool = new HttpPool({
          ...limit,
          maxTotalConns,
          timeoutMs: 40,
          maxRetries: 1,
          retryBaseMs: 1,
          retryCapMs: 1,
        });
        const nudged = nudges.map(async ({ kind, server, at }) => {
          await turns(at);
          const { url } = servers[server] as typeof a;
          if (kind === "preconnect") {
            // The other server may have all that there is.
            const open = await pool.preconnect(url, 3, { timeoutMs: 10_000 }).catch(() => 0);
            expect(open).toBeLessThanOrEqual(limit.maxConnsPerHost);
          } else if (kind === "closeIdle") pool.closeIdleConnections(url);
          else pool.setTls({});
        });
        await Promise.all(
          requests.map(async ({ server, behaviour, method, stream, abortAfterTurns, startAfterTurns }) => {
            await turns(startAfterTurns);
            const abort = new AbortController();
            const url = `${(servers[server] as typeof a).url}/${behaviour}`;
            const body = method === "POST" ? "x" : undefined;
            const sent = pool
              .do({ method, url, body, stream, signal: abort.signal, bodyGapTimeoutMs: 20 })
              .then((response) => response.text());
            const ended = sent.catch((error: unknown) => error);
            if (abortAfterTurns !== undefined) void turns(abortAfterTurns).then(() => abort.abort(new Error("abort")));
            const { open_connections, per_origin } = pool.getStats();
            expect(open_connections).toBeLessThanOrEqual(maxTotalConns);
            for (const origin of Object.values(per_origin)) {
              expect(origin.open_connections).toBeLessThanOrEqual(limit.maxConnsPerHost);
            }
            await ended;
          }),
        );
        await Promise.all(nudged);
        await turns(4);
        const stats = pool.getStats();
        expect(stats).toMatchObject({ in_flight: 0, queued: 0, request_count: requests.length });
        expect(stats.success_count + stats.error_count + stats.canceled_count).toBe(requests.length);
        expect(stats.idle_connections).toBeLessThanOrEqual(limit.maxIdleConns);
        for (const origin of Object.values(stats.per_origin)) {
          expect(origin.idle_connections).toBeLessThanOrEqual(limit.maxIdleConnsPerHost);
        }
        expect(stats.attempt_count).toBeLessThanOrEqual(stats.request_count + stats.retry_count + stats.stale_resends);
        const summed = ["request_count", "attempt_count", "retry_count", "stale_resends", "total_bytes"] as const;
        for (const key of [...summed, "success_count", "error_count", "timeout_count"] as const) {
          const sum = Object.values(stats.per_origin).reduce((total, origin) => total + origin[key], 0);
          expect([key, sum]).toEqual([key, stats[key]]);
        }
        expect(await pool.close({ deadlineMs: 0 })).toMatchObject({ killed: 0 });
        const { open_connections, connect_count, closed_by_reason } = pool.getStats();
        const closed = Object.values(closed_by_reason).reduce((total, count) => total + count, 0);
        expect([open_connections, closed]).toEqual([0, connect_count]);
        // Those that were just closing are among them.
        for (const { port } of servers) expect(sockets.peakOf(port)).toBeLessThanOrEqual(limit.maxConnsPerHost);
        expect(sockets.peak).toBeLessThanOrEqual(maxTotalConns);
        await Promise.all(servers.map((server) => server.socketsDownTo(0)));
      },
    ),
    { numRuns: 25, endOnFailure: true },
  );
});
