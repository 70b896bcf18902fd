/** A wait until so many resources are open. */
interface WarmUp {
  readonly target: number;
  readonly since: number;
  readonly deadline: number;
  resolve(open: number): void;
  reject(error: unknown): void;
}

/** The calls of `warm()` that are under way. */
export class WarmUps {
  readonly #waiting = new Set<WarmUp>();

  get size(): number {
    return this.#waiting.size;
  }

  /** How many resources must be open for all of them to be content. */
  get target(): number {
    let target = 0;
    for (const warmUp of this.#waiting) target = Math.max(target, warmUp.target);
    return target;
  }

  /** Resolves with how many are open. */
  join(
    limits: Pick<WarmUp, "target" | "since" | "deadline">,
    signal: AbortSignal | undefined,
    onAbort: () => void,
  ): Promise<number> {
    return new Promise<number>((resolve, reject) => {
      const warmUp = { ...limits, resolve, reject };
      const leave = (): void => {
        this.#waiting.delete(warmUp);
        reject(signal?.reason);
        onAbort();
      };
      const detach = (): void => signal?.removeEventListener("abort", leave);
      warmUp.resolve = (open) => (detach(), resolve(open));
      warmUp.reject = (error) => (detach(), reject(error));
      signal?.addEventListener("abort", leave);
      this.#waiting.add(warmUp);
    });
  }

  /** So many are open; `maxOpen` may have fallen since the call. */
  settle(open: number, maxOpen: number): void {
    for (const warmUp of this.#waiting) {
      if (open < Math.min(warmUp.target, maxOpen)) continue;
      this.#waiting.delete(warmUp);
      warmUp.resolve(open);
    }
  }

  /** Rejects those whose deadline has passed. */
  expire(now: number, errorFor: (target: number, waitedMs: number) => Error): void {
    for (const warmUp of this.#waiting) {
      if (warmUp.deadline > now) continue;
      this.#waiting.delete(warmUp);
      warmUp.reject(errorFor(warmUp.target, now - warmUp.since));
    }
  }

  refuseAll(error: () => Error): void {
    for (const { reject } of this.#waiting) reject(error());
    this.#waiting.clear();
  }

  /** The earliest deadline; `Infinity` when there is none. */
  nextDeadline(): number {
    let due = Infinity;
    for (const { deadline } of this.#waiting) due = Math.min(due, deadline);
    return due;
  }
}
