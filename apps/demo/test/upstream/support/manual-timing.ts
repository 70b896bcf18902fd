import type { Timing } from "../../../src/upstream/timing.ts";

interface Sleeper {
  readonly due: number;
  readonly wake: () => void;
}

/** Time that stands still until a test moves it. */
export class ManualTiming implements Timing {
  #now = 0;
  readonly #sleepers = new Set<Sleeper>();

  now(): number {
    return this.#now;
  }

  /** How many sleep now. */
  get sleeping(): number {
    return this.#sleepers.size;
  }

  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted();
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        this.#sleepers.delete(sleeper);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      const sleeper: Sleeper = { due: this.#now + ms, wake };
      signal.addEventListener("abort", wake, { once: true });
      this.#sleepers.add(sleeper);
    });
    signal.throwIfAborted();
  }

  /** Moves time, waking everybody who is due on the way, in order. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const next = [...this.#sleepers].filter(({ due }) => due <= end).toSorted((a, b) => a.due - b.due)[0];
      if (next === undefined) break;
      this.#now = Math.max(this.#now, next.due);
      next.wake();
    }
    this.#now = end;
  }
}
