import { setTimeout as delay } from "node:timers/promises";
import { fullJitterDelay } from "@vg/internal";
import { isRollbackToRetry } from "./sql-state.ts";

const BACKOFF = { baseMs: 10, capMs: 1_000 };

/** Runs `attempt` again, up to `retries` times, while the server rolls it back for reasons of concurrency (class 40). */
export async function retryRollbacks<T>(
  attempt: () => Promise<T>,
  { retries, signal, random }: { retries: number; signal: AbortSignal | undefined; random: () => number },
): Promise<T> {
  for (let count = 0; ; count++) {
    try {
      return await attempt();
    } catch (error) {
      if (count >= retries || signal?.aborted === true || !isRollbackToRetry(error)) throw error;
      // What collided once collides again when it comes back at the same moment.
      await delay(fullJitterDelay(count, { ...BACKOFF, random }), undefined, { signal }).catch(() => {
        throw signal?.reason;
      });
    }
  }
}
