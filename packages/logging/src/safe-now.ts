import type { Clock } from "./config.ts";

/** The clock's time; the system's, where the clock throws or tells no time. */
export function safeNow(clock: Clock): () => number {
  return () => {
    try {
      const now = clock.now();
      if (Number.isFinite(now)) return now;
    } catch {
      // Told below.
    }
    return Date.now();
  };
}
