/** Random loads over HTTP/2: streams and connections keep to their limits, and nothing unsafe is acted on twice. */
import { constants, type ServerHttp2Stream } from "node:http2";
import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import { HttpPool } from "../src/index.ts";
import { makeCertificates } from "./support/certificates.ts";
import { turns } from "./support/fault-server.ts";
import { answer, http2Server } from "./support/http2-server.ts";

let certificates: Awaited<ReturnType<typeof makeCertificates>>;
beforeAll(async () => {
  certificates = await makeCertificates();
});

const BEHAVIOURS = ["ok", "slow", "refuse", "reset", "goaway", "leave", "drop", "silent", "half", "busy"] as const;

test("under random faults and aborts every request ends, the limits hold and the books balance", async () => {
  const request = fc.record({
    behaviour: fc.constantFrom(...BEHAVIOURS),
    method: fc.constantFrom("GET", "POST"),
    stream: fc.boolean(),
    server: fc.nat(1),
    abortAfterTurns: fc.option(fc.nat(6), { nil: undefined }),
    startAfterTurns: fc.nat(6),
  });
  const limits = fc.record({
    maxConnsPerHost: fc.integer({ min: 1, max: 3 }),
    extraTotal: fc.nat(2),
    allowed: fc.integer({ min: 1, max: 4 }),
    maxIdleConns: fc.nat(3),
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
      async ({ maxConnsPerHost, extraTotal, allowed, maxIdleConns, maxConnLifetimeMs }, requests, nudges) => {
        /** What the server has acted on, by the request's own number. */
        const acted = new Map<string, number>();
        /** The last stream that a session took, once it said so. */
        const lastTaken = new Map<unknown, number>();
        const serve = (stream: ServerHttp2Stream, path: string): void => {
          const [, behaviour = "ok", id = ""] = path.split("/");
          // After GOAWAY Node's server goes on to hand out what it has just refused.
          if ((lastTaken.get(stream.session) ?? Number.POSITIVE_INFINITY) < (stream.id ?? 0)) return;
          const refuses = behaviour === "refuse" || behaviour === "goaway";
          if (!refuses) acted.set(id, (acted.get(id) ?? 0) + 1);
          switch (behaviour) {
            case "slow":
              return void setTimeout(() => answer(stream), 3);
            case "refuse":
              return stream.close(constants.NGHTTP2_REFUSED_STREAM);
            case "goaway": {
              // It and all after it were not taken. Node's server would then wait for ever for the client to hang up.
              const { session } = stream;
              const last = Math.max(0, (stream.id ?? 0) - 2);
              lastTaken.set(session, last);
              session?.goaway(constants.NGHTTP2_NO_ERROR, last);
              return void setTimeout(() => session?.destroy(), 10);
            }
            case "leave":
              answer(stream);
              return stream.session?.close();
            case "drop":
              return stream.session?.destroy();
            case "reset":
              return stream.close(constants.NGHTTP2_INTERNAL_ERROR);
            case "silent":
              return;
            case "half":
              stream.respond({ ":status": 200, "content-length": "10" });
              return void stream.write("half");
            case "busy":
              return answer(stream, "busy", { ":status": 503 });
            default:
              return answer(stream);
          }
        };
        const start = () =>
          http2Server((stream, headers) => serve(stream, String(headers[":path"])), {
            ...certificates.server,
            settings: { maxConcurrentStreams: allowed },
          });
        await using a = await start();
        await using b = await start();
        const servers = [a, b];
        const maxTotalConns = maxConnsPerHost + extraTotal;
        const tls = { ca: certificates.ca };
        const pool = new HttpPool({
          http2: "auto",
          tls,
          maxConnsPerHost,
          maxTotalConns,
          maxIdleConns: Math.min(maxIdleConns, maxTotalConns),
          maxConnLifetimeMs,
          timeoutMs: 60,
          maxRetries: 1,
          retryBaseMs: 1,
          retryCapMs: 1,
        });
        const nudged = nudges.map(async ({ kind, server, at }) => {
          await turns(at);
          const { url } = servers[server] as typeof a;
          if (kind === "preconnect") await pool.preconnect(url, 2, { timeoutMs: 10_000 }).catch(() => 0);
          else if (kind === "closeIdle") pool.closeIdleConnections(url);
          else pool.setTls({ ...tls });
        });
        await Promise.all(
          requests.map(async ({ server, behaviour, method, stream, abortAfterTurns, startAfterTurns }, id) => {
            await turns(startAfterTurns);
            const abort = new AbortController();
            const url = `${(servers[server] as typeof a).url}/${behaviour}/${id}`;
            const body = method === "POST" ? "x" : undefined;
            const ended = pool
              .do({ method, url, body, stream, signal: abort.signal, bodyGapTimeoutMs: 20 })
              .then((response) => response.text())
              .catch((error: unknown) => error);
            if (abortAfterTurns !== undefined) void turns(abortAfterTurns).then(() => abort.abort(new Error("abort")));
            const { open_connections, per_origin } = pool.getStats();
            expect(open_connections).toBeLessThanOrEqual(maxTotalConns);
            for (const origin of Object.values(per_origin)) {
              expect(origin.open_connections).toBeLessThanOrEqual(maxConnsPerHost);
            }
            await ended;
          }),
        );
        await Promise.all(nudged);
        for (const server of servers) expect(server.peakStreams()).toBeLessThanOrEqual(allowed);
        for (const [id, count] of acted) {
          if (requests[Number(id)]?.method === "POST") expect([id, count]).toEqual([id, 1]);
        }
        while (pool.getStats().idle_connections > maxIdleConns) await turns(1);
        const stats = pool.getStats();
        expect(stats).toMatchObject({ in_flight: 0, queued: 0, request_count: requests.length });
        expect(stats.success_count + stats.error_count + stats.canceled_count).toBe(requests.length);
        expect(await pool.close({ deadlineMs: 0 })).toMatchObject({ killed: 0 });
        expect(pool.getStats().open_connections).toBe(0);
      },
    ),
    { numRuns: 25, endOnFailure: true },
  );
});
