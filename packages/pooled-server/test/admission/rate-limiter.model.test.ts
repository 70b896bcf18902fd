import fc from "fast-check";
import { expect, test } from "vitest";
import { RateLimiter } from "../../src/admission/rate-limiter.ts";

const step = fc.record({
  client: fc.constantFrom("a", "b", "c"),
  // Ahead by up to an hour, and back.
  ms: fc.oneof(
    fc.integer({ min: 0, max: 50 }),
    fc.integer({ min: 0, max: 3_600_000 }),
    fc.integer({ min: -3_600_000, max: -1 }),
  ),
});

test("whatever the clock does, a client gets no more than its burst and what time has brought since", () => {
  fc.assert(
    fc.property(fc.constantFrom(0.1, 1, 2.5, 10, 1_000), fc.array(step, { maxLength: 200 }), (perSecond, steps) => {
      let now = 5_000_000;
      const limiter = new RateLimiter(perSecond, { now: () => now });
      const burst = Math.max(1, perSecond);
      const model = new Map<string, { tokens: number; at: number }>();
      for (const { client, ms } of steps) {
        now += ms;
        const bucket = model.get(client) ?? { tokens: burst, at: now };
        bucket.tokens = Math.min(burst, bucket.tokens + (Math.max(0, now - bucket.at) * perSecond) / 1000);
        bucket.at = now;
        model.set(client, bucket);
        const waitMs = limiter.take(client, now);
        if (waitMs === 0) bucket.tokens--;
        // A cache that believes in the jump may have forgotten the client, whose bucket is full by then in any case.
        expect(limiter.tokens).toBeGreaterThanOrEqual(bucket.tokens - 1e-6);
        expect(limiter.tokens).toBeLessThanOrEqual(burst);
        expect(limiter.tokens).toBeGreaterThanOrEqual(-1e-9);
        expect(waitMs).toBeGreaterThanOrEqual(0);
        expect(waitMs).toBeLessThanOrEqual(1000 / perSecond + 1e-6);
        expect(limiter.fullAfterMs).toBeGreaterThanOrEqual(0);
      }
    }),
    { numRuns: 500 },
  );
});

test("who waits for as long as it is told gets a token", () => {
  fc.assert(
    fc.property(
      fc.constantFrom(0.1, 1, 3, 10, 7_000),
      fc.array(fc.nat(2_000), { minLength: 1, maxLength: 100 }),
      (perSecond, pauses) => {
        let now = 0;
        const limiter = new RateLimiter(perSecond, { now: () => now });
        for (const ms of pauses) {
          now += ms;
          const waitMs = limiter.take("a", now);
          if (waitMs === 0) continue;
          now += Math.ceil(waitMs);
          expect(limiter.take("a", now)).toBe(0);
        }
      },
    ),
  );
});

test("a client that never rests gets its rate, not a new bucket every minute", () => {
  let now = 0;
  const limiter = new RateLimiter(10, { now: () => now });
  let granted = 0;
  for (; now < 600_000; now += 20) if (limiter.take("busy", now) === 0) granted++;
  expect(granted).toBeLessThanOrEqual(10 + 6_000);
  expect(granted).toBeGreaterThanOrEqual(6_000 - 10);
});

test("clients without end take no memory without end", () => {
  const limiter = new RateLimiter(10, { now: () => 0 });
  for (let i = 0; i < 50_000; i++) limiter.take(`client ${i}`, 0);
  expect(limiter.clients).toBeLessThanOrEqual(10_000);
});
