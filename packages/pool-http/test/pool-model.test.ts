/** Random loads against real servers: whatever happens, the limits hold, everything ends, and nothing is left. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Linked } from "../src/linked-list.ts";
import { WaitQueue } from "../src/transport/wait-queue.ts";
import { HttpPool } from "../src/index.ts";
import { ClientSockets } from "./support/client-sockets.ts";
import { playLoad, randomNudge, randomRequest, unreliableServer } from "./support/load.ts";

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

const BEHAVIOURS = ["ok", "slow", "reset", "busy", "late-reset", "close", "silent", "half"];

test("under random faults and aborts every request ends, the limits hold and the books balance", async () => {
  using sockets = new ClientSockets();
  await using a = await unreliableServer();
  await using b = await unreliableServer();
  const servers = [a, b];
  const randomLimits = fc.record({
    maxConnsPerHost: fc.integer({ min: 1, max: 4 }),
    extraTotal: fc.nat(4),
    maxIdleConns: fc.nat(4),
    maxIdleConnsPerHost: fc.nat(4),
    maxConnLifetimeMs: fc.option(fc.integer({ min: 1, max: 20 }), { nil: undefined }),
  });
  await fc.assert(
    fc.asyncProperty(
      randomLimits,
      fc.array(randomRequest(BEHAVIOURS), { maxLength: 30 }),
      fc.array(randomNudge, { maxLength: 4 }),
      async ({ extraTotal, ...drawn }, requests, nudges) => {
        const maxTotalConns = drawn.maxConnsPerHost + extraTotal;
        const limits = {
          ...drawn,
          maxTotalConns,
          maxIdleConns: Math.min(drawn.maxIdleConns, maxTotalConns),
          maxIdleConnsPerHost: Math.min(drawn.maxIdleConnsPerHost, drawn.maxConnsPerHost),
        };
        sockets.reset();
        const pool = new HttpPool({ ...limits, timeoutMs: 40, maxRetries: 1, retryBaseMs: 1, retryCapMs: 1 });
        await playLoad({ pool, servers, requests, nudges, limits, tls: {} });
        // Those that were just closing are among them.
        for (const { port } of servers) expect(sockets.peakOf(port)).toBeLessThanOrEqual(limits.maxConnsPerHost);
        expect(sockets.peak).toBeLessThanOrEqual(maxTotalConns);
        await Promise.all(servers.map((server) => server.socketsDownTo(0)));
      },
    ),
    { numRuns: 25, endOnFailure: true },
  );
});
