import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AdaptiveLimit } from "../../src/admission/adaptive-limit.ts";

interface Backend {
  /** Requests that it does at once, each as fast as alone; more wait in its line. */
  slots: number;
  serviceMs: number;
}

/**
 * Clients that send their next request when they have an answer, in front of a backend that queues without end. A discrete
 * simulation: what is in flight beyond the slots waits, so that latency is the service time × in flight / slots.
 */
function simulate(
  limit: AdaptiveLimit,
  {
    clients,
    seconds,
    backend,
    from = 0,
    jitter = () => 1,
  }: {
    clients: number;
    seconds: number;
    backend: Backend;
    from?: number;
    jitter?: () => number;
  },
): { limits: number[]; now: number } {
  let now = from;
  const limits: number[] = [];
  const STEP_MS = 10;
  let done = 0;
  for (const end = from + seconds * 1000; now < end; now += STEP_MS) {
    const inFlight = Math.min(clients, limit.value);
    limit.entered(inFlight);
    const busy = Math.min(inFlight, backend.slots);
    const latencyMs = backend.serviceMs * Math.max(1, inFlight / backend.slots);
    done += (busy / backend.serviceMs) * STEP_MS;
    for (; done >= 1; done--) limit.observe("/chat", latencyMs * jitter(), "answered", inFlight - 1, now);
    limits.push(limit.value);
  }
  return { limits, now };
}

const FAST: Backend = { slots: 20, serviceMs: 50 };

test("it finds what a backend does at once, and keeps latency near its usual", () => {
  const limit = new AdaptiveLimit({ min: 5, max: 400 }, 0);
  const calm = simulate(limit, { clients: 10, seconds: 20, backend: FAST });
  expect(limit.value).toBe(400);
  const { limits } = simulate(limit, { clients: 400, seconds: 60, backend: FAST, from: calm.now });
  const late = limits.slice(-1000);
  expect(Math.max(...late)).toBeLessThanOrEqual(80);
  expect(Math.min(...late)).toBeGreaterThanOrEqual(20);
});

test("an overload that lasts does not become the usual: the limit does not creep up", () => {
  const limit = new AdaptiveLimit({ min: 5, max: 1_000 }, 0);
  const calm = simulate(limit, { clients: 10, seconds: 20, backend: FAST });
  const { limits } = simulate(limit, { clients: 1_000, seconds: 3_600, backend: FAST, from: calm.now });
  expect(Math.max(...limits.slice(-10_000))).toBeLessThanOrEqual(80);
});

test("it begins at its upper end and finds the way down though it has never seen calm", () => {
  const limit = new AdaptiveLimit({ min: 5, max: 400 }, 0);
  let now = 0;
  // Latency as the overload makes it from the first moment on: only where it gets worse can that be seen.
  ({ now } = simulate(limit, { clients: 30, seconds: 10, backend: FAST }));
  const { limits } = simulate(limit, { clients: 400, seconds: 60, backend: FAST, from: now });
  expect(Math.max(...limits.slice(-1000))).toBeLessThanOrEqual(120);
});

test("where latency rises though the limit is not in use, it stays", () => {
  const limit = new AdaptiveLimit({ min: 5, max: 1_000 }, 0);
  const calm = simulate(limit, { clients: 100, seconds: 20, backend: { slots: 1_000, serviceMs: 50 } });
  simulate(limit, { clients: 100, seconds: 60, backend: { slots: 1_000, serviceMs: 900 }, from: calm.now });
  expect(limit.value).toBe(1_000);
});

test("a backend that has become slower, without a line, gets its room back", () => {
  const limit = new AdaptiveLimit({ min: 20, max: 300 }, 0);
  const before = simulate(limit, { clients: 250, seconds: 30, backend: { slots: 1_000, serviceMs: 50 } });
  const slow = { slots: 1_000, serviceMs: 250 };
  const { limits } = simulate(limit, { clients: 250, seconds: 300, backend: slow, from: before.now });
  expect(limits.at(-1)).toBeGreaterThanOrEqual(250);
});

test("after an overload the room comes back, though it is not in use", () => {
  const limit = new AdaptiveLimit({ min: 5, max: 400 }, 0);
  let { now } = simulate(limit, { clients: 10, seconds: 20, backend: FAST });
  ({ now } = simulate(limit, { clients: 400, seconds: 60, backend: FAST, from: now }));
  expect(limit.value).toBeLessThan(100);
  simulate(limit, { clients: 10, seconds: 120, backend: FAST, from: now });
  expect(limit.value).toBe(400);
});

test("another mix of routes is no contention", () => {
  const limit = new AdaptiveLimit({ min: 5, max: 100 }, 0);
  let now = 0;
  const minute = (shareOfSlow: number): void => {
    for (let i = 0; i < 6_000; i++) {
      now += 10;
      limit.entered(90);
      if ((i * shareOfSlow) % 1 < shareOfSlow) limit.observe("/chat", 2_000, "answered", 89, now);
      else limit.observe("/models", 1, "answered", 89, now);
    }
  };
  minute(0.1);
  minute(0.9);
  expect(limit.value).toBe(100);
});

describe("what ends without an answer", () => {
  const fill = (how: "timed_out" | "abandoned" | "other", heldMs: number): AdaptiveLimit => {
    const limit = new AdaptiveLimit({ min: 5, max: 100 }, 0);
    const { now } = simulate(limit, { clients: 20, seconds: 20, backend: FAST });
    for (let i = 0; i < 1_000; i++) {
      limit.entered(90);
      limit.observe("/chat", heldMs, how, 89, now + i * 10);
    }
    return limit;
  };

  test("requests that run out of time lower the limit", () => {
    expect(fill("timed_out", 30_000).value).toBeLessThan(30);
  });

  test("clients that give up after longer than usual do, too", () => {
    expect(fill("abandoned", 5_000).value).toBeLessThan(60);
  });

  test("clients that leave early, and failures, say nothing", () => {
    expect(fill("abandoned", 1).value).toBe(100);
    expect(fill("other", 5_000).value).toBe(100);
  });
});

test("whatever it is told, it stays between its ends and a whole number", () => {
  const observation = fc.record({
    route: fc.constantFrom("/a", "/b", ""),
    heldMs: fc.oneof(fc.double({ min: 0, max: 1e9, noNaN: true }), fc.constant(0)),
    how: fc.constantFrom("answered", "timed_out", "abandoned", "other"),
    inFlight: fc.nat(500),
    stepMs: fc.integer({ min: -2_000, max: 2_000 }),
  });
  fc.assert(
    fc.property(fc.array(observation, { maxLength: 300 }), (observations) => {
      const limit = new AdaptiveLimit({ min: 7, max: 300 }, 0);
      let now = 0;
      for (const { route, heldMs, how, inFlight, stepMs } of observations) {
        now += stepMs;
        limit.entered(inFlight);
        limit.observe(route, heldMs, how as "answered", inFlight, now);
        expect(limit.value).toBeGreaterThanOrEqual(7);
        expect(limit.value).toBeLessThanOrEqual(300);
        expect(Number.isInteger(limit.value)).toBe(true);
      }
    }),
  );
});

test("routes without end share one book", () => {
  const limit = new AdaptiveLimit({ min: 5, max: 100 }, 0);
  for (let i = 0; i < 100_000; i++) limit.observe(`/made/${i}`, 10, "answered", 1, i);
  expect(limit.value).toBe(100);
});
