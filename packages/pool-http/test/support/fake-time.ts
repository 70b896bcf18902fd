import { vi } from "vitest";

/** Timers and the monotonic clock stand still meanwhile, but for what `pass` lets go by; sockets go on as ever. */
export async function withFakeTime(run: (pass: (ms: number) => void) => Promise<void>): Promise<void> {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  try {
    await run((ms) => void vi.advanceTimersByTime(ms));
  } finally {
    vi.useRealTimers();
  }
}
