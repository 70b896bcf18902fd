import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LRUCache } from "../src/index.ts";
import type { EvictionReason, PolicyName } from "../src/index.ts";
import { FakeClock } from "./fake-clock.ts";
import { seededRandom } from "./seeded-random.ts";

const KEYS = 30;
const key = fc.nat({ max: KEYS - 1 });
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constant("get" as const), key }) },
  {
    weight: 8,
    arbitrary: fc.record({
      op: fc.constant("set" as const),
      key,
      ttlMs: fc.constantFrom(1, 3, 10, 30, Infinity, Infinity),
      size: fc.nat({ max: 12 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("delete" as const), key }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant("advance" as const), ms: fc.nat({ max: 8 }) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("clear" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant("resize" as const), capacity: fc.integer({ min: 1, max: 20 }) }),
  },
);
const setup = fc.record({ capacity: fc.integer({ min: 1, max: 20 }), maxBytes: fc.constantFrom(15, 60, Infinity) });

/**
 * Which entry a policy gives up is its own affair (see policy-model.test.ts). What every policy owes a cache is that
 * nobody loses a value in any other way: what is in the cache is what was put in and did not leave, each departure is
 * told once, for a reason that holds, and no live entry leaves while an expired one is there.
 */
describe.each<PolicyName>(["lru", "sieve", "s3fifo", "tinylfu"])("with the policy %s", (policy) => {
  test("every value leaves once, for a reason that holds, and expired ones before live ones", () => {
    let operations = 0;
    fc.assert(
      fc.property(setup, fc.array(step, { maxLength: 150, size: "max" }), ({ capacity, maxBytes }, steps) => {
        const clock = new FakeClock();
        const held = new Map<number, { value: number; deadline: number; size: number }>();
        const counts: Record<EvictionReason, number> = {
          capacity: 0,
          bytes: 0,
          expired: 0,
          deleted: 0,
          replaced: 0,
          cleared: 0,
        };
        let limit = capacity;
        const isOver = (entry: { deadline: number }): boolean => entry.deadline <= clock.time;
        const bytes = (): number => [...held.values()].reduce((sum, { size }) => sum + size, 0);
        const cache = new LRUCache<number, number>({
          capacity,
          maxBytes,
          policy,
          clock,
          random: seededRandom(1),
          cleanupIntervalMs: 0,
          sizeOf: () => 1,
          onEvict: (k, value, reason) => {
            const entry = held.get(k);
            // Values are serial numbers: this one is the one that is there, and was not told before.
            expect(entry?.value).toBe(value);
            expect(isOver(entry!)).toBe(reason === "expired");
            if (reason === "capacity" || reason === "bytes") {
              expect([...held.values()].some(isOver)).toBe(false);
              expect(reason === "bytes" ? maxBytes : held.size).toBeGreaterThan(reason === "bytes" ? 0 : limit - 1);
            }
            held.delete(k);
            counts[reason]++;
          },
        });
        let serial = 0;
        for (const each of steps) {
          serial++;
          operations++;
          if (each.op === "advance") {
            clock.advance(each.ms);
          } else if (each.op === "set") {
            const size = each.size;
            // What the callbacks of this set see is what was there before.
            const stored = cache.set(each.key, serial, { ttlMs: each.ttlMs, sizeBytes: size });
            expect(stored).toBe(size <= maxBytes);
            expect(held.has(each.key)).toBe(false);
            if (stored) held.set(each.key, { value: serial, deadline: clock.time + each.ttlMs, size });
          } else if (each.op === "get") {
            const entry = held.get(each.key);
            expect(cache.get(each.key)).toBe(entry === undefined || isOver(entry) ? undefined : entry.value);
          } else if (each.op === "delete") {
            cache.delete(each.key);
            expect(held.has(each.key)).toBe(false);
          } else if (each.op === "clear") {
            cache.clear();
            expect(held.size).toBe(0);
          } else {
            limit = each.capacity;
            cache.resize(limit);
          }
          expect(held.size).toBeLessThanOrEqual(limit);
          expect(bytes()).toBeLessThanOrEqual(maxBytes);
        }
        const live = [...held].filter(([, entry]) => !isOver(entry));
        expect(new Map(cache)).toEqual(new Map(live.map(([k, { value }]) => [k, value])));
        const stats = cache.getStats();
        expect(stats).toMatchObject({
          entries: live.length,
          evictions_capacity: counts.capacity,
          evictions_bytes: counts.bytes,
          expirations: counts.expired,
          deletes: counts.deleted,
          replaced: counts.replaced,
          cleared: counts.cleared,
        });
        expect(stats.sets).toBe(
          stats.entries + stats.evictions + stats.expirations + stats.deletes + stats.replaced + stats.cleared,
        );
      }),
      { numRuns: 1500 },
    );
    expect(operations).toBeGreaterThan(100_000);
  });
});

test("a policy changes what is kept, nothing else: a scan pushes out of exact LRU what the others keep", () => {
  const kept = (policy: PolicyName): number => {
    const cache = new LRUCache<number, number>({ capacity: 100, policy, random: seededRandom(1) });
    for (let round = 0; round < 50; round++) {
      for (let use = 0; use < 150; use++) {
        const hot = use % 50;
        if (cache.get(hot) === undefined) cache.set(hot, hot);
      }
      for (let cold = 0; cold < 200; cold++) cache.set(1000 + round * 200 + cold, cold);
    }
    return Array.from({ length: 50 }, (_, hot) => cache.has(hot)).filter(Boolean).length;
  };
  expect(kept("lru")).toBe(0);
  for (const policy of ["sieve", "s3fifo", "tinylfu"] as const)
    expect([policy, kept(policy) > 40]).toEqual([policy, true]);
});
