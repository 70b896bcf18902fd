import type { CloseOutcome } from "./resource.ts";

/** The end of a pool, from `close()` on: until when it may take, and what it had to kill. */
export class Closing<R> {
  readonly deadline: number;
  readonly outcome: Promise<CloseOutcome<R>>;
  readonly killed: CloseOutcome<R>["killed"] = [];
  rejectedWaiters = 0;
  #finish: (() => void) | undefined;

  /** `goodbyes` are under way, and more may join until `finish()`; the outcome waits for them all. */
  constructor(deadlineMs: number, now: () => number, goodbyes: ReadonlySet<Promise<void>>) {
    const since = now();
    this.deadline = since + deadlineMs;
    const finished = new Promise<void>((resolve) => {
      this.#finish = resolve;
    });
    this.outcome = finished.then(async () => {
      await Promise.all(goodbyes);
      const { killed, rejectedWaiters } = this;
      return { durationMs: now() - since, killed, rejectedWaiters };
    });
  }

  finish(): void {
    this.#finish?.();
  }
}
