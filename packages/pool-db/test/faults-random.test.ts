import { setTimeout as delay } from "node:timers/promises";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { DbPool } from "../src/index.ts";
import type { FaultProxy, Link } from "./fault-proxy.ts";
import { PIPELINING, outcome, useFaults } from "./fault-support.ts";

describe.each(PIPELINING)("%s", (_mode, mode) => {
  const faults = useFaults(mode);

  /** What may be answered to a caller when the network and the server do what they like. */
  const KNOWN = /^(57P0[123]|57014|ERR_VG_DB_(CONNECTION_LOST|CONNECT|ACQUIRE_TIMEOUT|QUERY_TIMEOUT|COMMIT_UNKNOWN))$/;

  const LIMIT = { timeoutMs: 150 };

  /** What a caller does; each is answered within its limit. */
  const CALLS: Record<string, (pool: DbPool, n: number) => Promise<unknown>> = {
    query: async (pool, n) => expect(await pool.queryRow("select $1::int as n", [n], LIMIT)).toEqual({ n }),
    // In a pool that pipelines, they share connections.
    "a query without a limit": async (pool, n) =>
      expect(await pool.queryRow("select $1::text as n", [n])).toEqual({ n: String(n) }),
    "an error without a limit": async (pool) => {
      const error = await outcome(pool.query("select 1 / $1::int", [0]));
      if ((error as { code: string }).code !== "22012") throw error;
    },
    "rows of a query": async (pool, n) => {
      const { rows } = await pool.query("select $1::int + i as n from generate_series(0, 299) as i", [n], LIMIT);
      expect(rows).toEqual(Array.from({ length: 300 }, (_, i) => ({ n: n + i })));
    },
    "a query that is too slow": (pool) => pool.query("select pg_sleep(0.3)", [], { timeoutMs: 20 }),
    "an error": async (pool) => {
      const error = await outcome(pool.query("select 1 / 0", [], LIMIT));
      if ((error as { code: string }).code !== "22012") throw error;
    },
    transaction: (pool, n) =>
      pool.transaction(async (tx) => expect(await tx.queryRow("select $1::int as n", [n])).toEqual({ n }), LIMIT),
    "a client left in a transaction": async (pool) => {
      const connection = await pool.acquire(LIMIT);
      try {
        await connection.query("begin", [], LIMIT);
      } finally {
        connection.release();
      }
    },
  };

  const someLink = (act: (link: Link) => void) => (proxy: FaultProxy) => {
    const [link] = proxy.links;
    if (link !== undefined) act(link);
  };

  /** What happens to the network and the server meanwhile. */
  const FAULTS: Record<string, (proxy: FaultProxy, pool: DbPool) => unknown> = {
    reset: someLink((link) => link.reset()),
    "black hole": someLink((link) => link.blackHole()),
    "half-close": someLink((link) => link.halfClose()),
    "half of a message": someLink((link) => void link.toClient.stopAt("DataRow", { keep: 6 })),
    slowness: someLink((link) => link.delay(5)),
    "a drip": someLink((link) => (link.toClient.drips = true)),
    "no ends": someLink((link) => (link.neverCloses = true)),
    "new connections black-holed": (proxy) => (proxy.onLink = (link) => link.blackHole()),
    "new connections reset": (proxy) => (proxy.onLink = (link) => link.reset()),
    "new connections refused": (proxy) => proxy.refuse(),
    "the network back": (proxy) => restore(proxy),
    "sessions terminated": (_proxy, pool) => faults.terminate(pool),
    "a pause": () => delay(20),
  };

  async function restore(proxy: FaultProxy): Promise<void> {
    proxy.heal();
    if (!proxy.listening) await proxy.listen();
  }

  test("after any sequence of faults under load, everybody was answered and the pool is whole", async () => {
    const step = fc.oneof(
      fc.constantFrom(...Object.keys(FAULTS)),
      fc.record({ calls: fc.array(fc.constantFrom(...Object.keys(CALLS)), { minLength: 1, maxLength: 8 }) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 12, size: "max" }), async (steps) => {
        const proxy = await faults.proxy();
        const pool = faults.pool({
          through: proxy,
          maxOpenConns: 3,
          validateAfterIdleMs: 0,
          connectTimeoutMs: 200,
          resetTimeoutMs: 200,
        });
        const answers: Promise<unknown>[] = [];
        const unlimited: Promise<unknown>[] = [];
        for (const each of steps) {
          if (typeof each === "string") {
            await FAULTS[each]?.(proxy, pool);
            continue;
          }
          for (const name of each.calls) {
            const call = CALLS[name] as (typeof CALLS)[string];
            const line = name.includes("without a limit") ? unlimited : answers;
            line.push(outcome(call(pool, line.length)));
          }
          await delay(1);
        }
        const limited = await Promise.all(answers);
        await restore(proxy);
        for (const answer of [...limited, ...(await Promise.all(unlimited))]) {
          if (!(answer instanceof Error)) continue;
          const { code = "" } = answer as Error & { code?: string };
          if (!KNOWN.test(code)) throw answer;
        }
        await faults.check();
      }),
      { numRuns: 30, endOnFailure: true },
    );
  });
});
