import { expect, test } from "vitest";
import { LoopPressure } from "../../src/admission/loop-pressure.ts";

function setup() {
  let now = 0;
  const pressure = new LoopPressure({ maxUtilization: 0.95, maxDelayMs: 200 });
  return {
    pressure,
    /** Turns of the loop, each of so long. */
    turns(count: number, ms: number, utilization: number = 1): void {
      for (let i = 0; i < count; i++) {
        now += ms;
        pressure.sample(utilization, now);
      }
    },
    /** Whether a request is refused whose turn comes so long after the loop's last look at its timers. */
    refusesAfter: (ms: number): boolean => pressure.overloaded && pressure.isLate(now + ms),
  };
}

test("a loop that is busy all the time, but not late, sheds nothing", () => {
  const { pressure, turns } = setup();
  turns(1_000, 240);
  expect(pressure.overloaded).toBe(false);
});

test("a loop that is late, but has time, sheds nothing: others have the processor", () => {
  const { pressure, turns } = setup();
  turns(100, 500, 0.5);
  expect(pressure.overloaded).toBe(false);
});

test("one long pause sheds nothing", () => {
  const { pressure, turns } = setup();
  turns(1, 950);
  turns(5, 60, 0.3);
  turns(1, 950);
  expect(pressure.overloaded).toBe(false);
});

test("in a loop that stays late, requests whose turn comes late are refused, and the first ones are served", () => {
  const { turns, refusesAfter } = setup();
  turns(4, 300);
  expect([0, 100, 249, 250, 400].map(refusesAfter)).toEqual([false, false, false, true, true]);
});

test("after a turn that was far too long nothing is taken on until the next", () => {
  const { turns, refusesAfter } = setup();
  turns(2, 2_000);
  expect(refusesAfter(0)).toBe(true);
  turns(1, 250);
  expect(refusesAfter(0)).toBe(false);
});

test("shedding keeps the loop at its limit, and ends when it is in time by a margin for a second", () => {
  const { pressure, turns } = setup();
  turns(4, 300);
  turns(100, 200);
  expect(pressure.overloaded).toBe(true);
  turns(6, 140);
  expect(pressure.overloaded).toBe(true);
  turns(2, 140);
  expect(pressure.overloaded).toBe(false);
});

test("where it is off it measures nothing and sheds nothing", () => {
  const pressure = new LoopPressure({ maxUtilization: 0, maxDelayMs: 1 });
  pressure.start();
  expect(pressure.refuses()).toBe(false);
  pressure.stop();
});
