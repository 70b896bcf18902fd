import fc from "fast-check";
import { expect, test } from "vitest";
import { Advisor } from "../../src/advice/advisor.ts";
import { sampleOf } from "./figures.ts";

const INTERVAL_MS = 10_000;

/** An advisor of a cache whose look-ups the test tells, tick by tick. */
function setup() {
  let now = 0;
  let [hits, misses] = [0, 0];
  const changes: string[] = [];
  const advisor = new Advisor({
    intervalMs: INTERVAL_MS,
    windowMs: 300_000,
    sample: () => sampleOf({ inference: { hits, misses } }, now),
    onChange: (finding, change) => changes.push(`${finding.id} ${change}`),
    onError: (error) => changes.push(String(error)),
  });
  return {
    advisor,
    changes,
    /** So many ticks, in each of which there are 100 look-ups (or `lookups`) with this share of hits. */
    ticks(count: number, hitRate: number, lookups: number = 100): void {
      for (let i = 0; i < count; i++) {
        now += INTERVAL_MS;
        hits += Math.round(lookups * hitRate);
        misses += lookups - Math.round(lookups * hitRate);
        advisor.tick();
      }
    },
    jump: (ms: number) => void (now += ms),
    reset: () => void ([hits, misses] = [0, 0]),
  };
}

test("a finding appears when it has held for a while, is told once, and its figures follow", () => {
  const { advisor, changes, ticks } = setup();
  // A minute, of which there is too little to tell, and three windows that call for it.
  ticks(8, 0.3);
  expect(advisor.findings).toEqual([]);
  ticks(1, 0.3);
  expect(advisor.findings).toMatchObject([{ id: "cache_hit_rate", severity: "warn", evidence: { hit_rate: 0.3 } }]);
  ticks(30, 0.6);
  expect(advisor.findings).toMatchObject([{ severity: "info", evidence: { hit_rate: 0.6 } }]);
  expect(changes).toEqual(["cache_hit_rate appeared"]);
});

test("what was an hour ago is no finding now, with traffic that is well, or without any", () => {
  for (const lookups of [100, 0]) {
    const { advisor, changes, ticks } = setup();
    ticks(60, 0.3);
    expect(advisor.findings).toHaveLength(1);
    ticks(60, 0.95, lookups);
    expect(advisor.findings).toEqual([]);
    expect(changes).toEqual(["cache_hit_rate appeared", "cache_hit_rate cleared"]);
  }
});

test("a figure that wavers around a bound makes no finding come and go", () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0.785, max: 0.815, noNaN: true }), { minLength: 100, maxLength: 300 }),
      (rates) => {
        const { changes, ticks } = setup();
        for (const rate of rates) ticks(1, rate, 10_000);
        expect(changes.filter((change) => change.endsWith("cleared"))).toEqual([]);
        expect(changes.length).toBeLessThanOrEqual(1);
      },
    ),
  );
});

test("however figures go, a finding appears, clears, appears; never twice the same", () => {
  const step = fc.record({
    rate: fc.constantFrom(0, 0.3, 0.79, 0.81, 0.9, 1),
    count: fc.nat(20),
    lookups: fc.constantFrom(0, 5, 100),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), fc.boolean(), (steps, resets) => {
      const { advisor, changes, ticks, reset, jump } = setup();
      for (const { rate, count, lookups } of steps) {
        ticks(count, rate, lookups);
        if (resets) {
          reset();
          jump(-5_000);
        }
        expect(Object.isFrozen(advisor.findings)).toBe(true);
      }
      for (let i = 0; i < changes.length; i++) {
        expect(changes[i]).toBe(i % 2 === 0 ? "cache_hit_rate appeared" : "cache_hit_rate cleared");
      }
      expect(advisor.findings).toHaveLength(changes.length % 2);
    }),
  );
});

test("a sample that cannot be taken is told, and the next one is", () => {
  const errors: unknown[] = [];
  let fails = true;
  const advisor = new Advisor({
    intervalMs: INTERVAL_MS,
    windowMs: 300_000,
    sample: () => {
      if (fails) throw new Error("closed");
      return sampleOf({}, 0);
    },
    onChange: () => undefined,
    onError: (error) => errors.push(error),
  });
  advisor.tick();
  fails = false;
  advisor.tick();
  expect(errors).toHaveLength(1);
});
