/** Random requests through the faces: each ends exactly once, the limits hold, no POST is sent twice, nothing is left. */
import { Readable } from "node:stream";
import fc from "fast-check";
import type { Dispatcher } from "undici";
import { expect, test } from "vitest";
import { HttpPool } from "../src/index.ts";
import { turns } from "./support/fault-server.ts";
import { unreliableServer } from "./support/load.ts";

const BEHAVIOURS = ["ok", "slow", "reset", "busy", "late-reset", "half", "large", "silent"];
const ABORTS = ["never", "start", "sent", "response", "data", "later"] as const;

const step = fc.record({
  behaviour: fc.constantFrom(...BEHAVIOURS),
  method: fc.constantFrom("GET", "POST", "PUT"),
  streamed: fc.boolean(),
  abort: fc.constantFrom(...ABORTS),
  pauses: fc.boolean(),
  face: fc.constantFrom("fetch", "dispatcher"),
});
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

/** Counts what a handler is told of its end. */
function dispatched(
  dispatcher: Dispatcher,
  origin: string,
  path: string,
  { method, streamed, abort, pauses }: Step,
): Promise<number> {
  return new Promise((resolve) => {
    let ends = 0;
    const act = (when: string, controller: Dispatcher.DispatchController): void => {
      if (abort === when) controller.abort(new Error("enough"));
    };
    const end = (): void => {
      // A second one would come soon, if at all.
      if (++ends === 1) setTimeout(() => resolve(ends), 5);
    };
    let controller!: Dispatcher.DispatchController;
    const body = method === "GET" ? null : streamed ? Readable.from(["a", "b"]) : "ab";
    dispatcher.dispatch(
      { origin, path, method, body, bodyTimeout: 30, headersTimeout: 30 },
      {
        onRequestStart: (given) => {
          controller = given;
          act("start", given);
          if (abort === "later") setTimeout(() => given.abort(new Error("enough")), 4);
        },
        onRequestSent: () => act("sent", controller),
        onResponseStart: (given) => {
          act("response", given);
          if (!pauses) return;
          given.pause();
          setTimeout(() => given.resume(), 2);
        },
        onResponseData: (given) => act("data", given),
        onResponseEnd: end,
        onResponseError: end,
      },
    );
  });
}

async function fetched(pool: HttpPool, url: string, { method, streamed, abort }: Step): Promise<number> {
  const controller = new AbortController();
  if (abort === "later") setTimeout(() => controller.abort(), 4);
  const body = method === "GET" ? null : streamed ? (Readable.from(["a", "b"]) as never) : "ab";
  const limits = { attemptTimeoutMs: 30, bodyGapTimeoutMs: 30 };
  try {
    const response = await pool.fetch(url, { method, body, duplex: "half", signal: controller.signal, pool: limits });
    if (abort === "response") controller.abort();
    if (abort === "data") await response.body?.cancel();
    else await response.text();
  } catch (error) {
    expect(controller.signal.aborted || error instanceof TypeError).toBe(true);
  }
  return 1;
}

test("whatever happens to them, requests through the faces end once and leave nothing", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), async (steps) => {
      await using server = await unreliableServer();
      await using pool = new HttpPool({ maxConnsPerHost: 3, maxIdleConnsPerHost: 2, retryBaseMs: 1, timeoutMs: 300 });
      const { dispatcher } = pool;
      let most = 0;
      const watch = setInterval(() => (most = Math.max(most, pool.getStats().open_connections)), 1);
      const ends = await Promise.all(
        steps.map((one, id) => {
          const path = `/${one.behaviour}/${id}`;
          return one.face === "fetch"
            ? fetched(pool, server.url + path, one)
            : dispatched(dispatcher, server.url, path, one);
        }),
      );
      clearInterval(watch);
      expect(ends).toEqual(steps.map(() => 1));
      await dispatcher.close();
      await turns(3);
      const stats = pool.getStats();
      expect(stats).toMatchObject({ in_flight: 0, queued: 0, request_count: steps.length });
      expect(stats.success_count + stats.error_count + stats.canceled_count).toBe(steps.length);
      expect(most).toBeLessThanOrEqual(3);
      const posts = server.requests.map(({ line }) => line).filter((line) => line.startsWith("POST"));
      expect(new Set(posts).size).toBe(posts.length);
      await pool.close();
      await server.socketsDownTo(0);
    }),
    { numRuns: 40 },
  );
});
