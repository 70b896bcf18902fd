/** Random loads over HTTP/2: streams and connections keep to their limits, and nothing unsafe is acted on twice. */
import { constants, type ServerHttp2Stream } from "node:http2";
import fc from "fast-check";
import { expect, test } from "vitest";
import { HttpPool } from "../src/index.ts";
import { makeCertificates } from "./support/certificates.ts";
import { answer, http2Server } from "./support/http2-server.ts";
import { playLoad, randomNudge, randomRequest } from "./support/load.ts";

const certificates = await makeCertificates();

const BEHAVIOURS = ["ok", "slow", "refuse", "reset", "goaway", "leave", "drop", "silent", "half", "busy"];

test("under random faults and aborts every request ends, the limits hold and the books balance", async () => {
  const randomLimits = fc.record({
    maxConnsPerHost: fc.integer({ min: 1, max: 3 }),
    extraTotal: fc.nat(2),
    allowed: fc.integer({ min: 1, max: 4 }),
    maxIdleConns: fc.nat(3),
    maxConnLifetimeMs: fc.option(fc.integer({ min: 1, max: 20 }), { nil: undefined }),
  });
  await fc.assert(
    fc.asyncProperty(
      randomLimits,
      fc.array(randomRequest(BEHAVIOURS), { maxLength: 30 }),
      fc.array(randomNudge, { maxLength: 4 }),
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
        const limits = {
          maxConnsPerHost,
          maxTotalConns,
          maxIdleConns: Math.min(maxIdleConns, maxTotalConns),
          maxIdleConnsPerHost: maxConnsPerHost,
        };
        const tls = { ca: certificates.ca };
        const times = { maxConnLifetimeMs, timeoutMs: 60, maxRetries: 1, retryBaseMs: 1, retryCapMs: 1 };
        const pool = new HttpPool({ ...limits, ...times, http2: "auto", tls });
        await playLoad({ pool, servers, requests, nudges, limits, tls });
        for (const server of servers) expect(server.peakStreams()).toBeLessThanOrEqual(allowed);
        for (const [id, count] of acted) {
          if (requests[Number(id)]?.method === "POST") expect([id, count]).toEqual([id, 1]);
        }
      },
    ),
    { numRuns: 25, endOnFailure: true },
  );
});
