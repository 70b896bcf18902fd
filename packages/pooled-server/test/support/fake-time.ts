import { setImmediate } from "node:timers/promises";
import { onTestFinished, vi } from "vitest";

export interface FakeTime {
  clock: { now(): number };
  /** Moves the time on, timer by timer; sockets and promises get their turns in between. */
  advance(ms: number): Promise<void>;
  /** Lets sockets and promises go on without any time passing. */
  settle(): Promise<void>;
}

const STEP_MS = 5;
const TURNS = 5;

/** Timers and the clock stand still until the test moves them; sockets are real. Ends with the test. */
export function fakeTime(): FakeTime {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "Date"], now: 0 });
  onTestFinished(() => void vi.useRealTimers());
  const settle = async (): Promise<void> => {
    for (let turn = 0; turn < TURNS; turn++) await setImmediate();
  };
  return {
    clock: { now: () => Date.now() },
    settle,
    async advance(ms) {
      await settle();
      for (let left = ms; left > 0; left -= STEP_MS) {
        await vi.advanceTimersByTimeAsync(Math.min(STEP_MS, left));
        await settle();
      }
    },
  };
}
