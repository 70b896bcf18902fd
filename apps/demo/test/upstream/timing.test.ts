import { expect, test } from "vitest";
import { Pace, realTiming } from "../../src/upstream/timing.ts";
import { ManualTiming } from "./support/manual-timing.ts";

const never = new AbortController().signal;

/** Time in which every sleep lasts as long as asked and a delay more, as real timers do. */
class LateTiming {
  time = 0;
  readonly slept: number[] = [];
  readonly #late: number;

  constructor(late: number) {
    this.#late = late;
  }

  now(): number {
    return this.time;
  }

  sleep(ms: number): Promise<void> {
    this.slept.push(ms);
    this.time += ms + this.#late;
    return Promise.resolve();
  }
}

test("steps keep to their schedule although every timer fires late", async () => {
  const timing = new LateTiming(1);
  const pace = new Pace(timing, never);
  for (let i = 0; i < 100; i++) await pace.spend(4);
  expect(timing.time).toBe(401);
});

test("steps shorter than a timer's delay are taken together", async () => {
  const timing = new LateTiming(1);
  const pace = new Pace(timing, never);
  for (let i = 0; i < 1000; i++) await pace.spend(0.1);
  expect(timing.time).toBeCloseTo(100, -1);
  expect(timing.slept.length).toBeLessThan(120);
});

test("time that a stalled reader took is not made up for", async () => {
  const timing = new LateTiming(0);
  const pace = new Pace(timing, never);
  await pace.spend(10);
  timing.time += 10_000;
  const resumed = timing.time;
  for (let i = 0; i < 100; i++) await pace.spend(10);
  expect(timing.time - resumed).toBeGreaterThanOrEqual(1000 - 20);
});

test("a step whose signal aborts rejects with its reason", async () => {
  const client = new AbortController();
  const step = new Pace(new ManualTiming(), client.signal).spend(1000);
  client.abort(new Error("gone"));
  await expect(step).rejects.toThrow("gone");
  const real = new AbortController();
  const sleep = realTiming.sleep(60_000, real.signal);
  real.abort(new Error("left"));
  await expect(sleep).rejects.toThrow("left");
});
