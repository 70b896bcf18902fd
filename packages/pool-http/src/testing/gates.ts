/** Named gates at which scripts wait; each is shut until it is released, and open from then on. */
export class Gates {
  readonly #gates = new Map<string, Gate>();

  /** Resolves when the gate is open; rejects when the signal aborts. */
  wait(name: string, signal: AbortSignal): Promise<void> {
    const gate = this.#of(name);
    gate.reached++;
    for (const watcher of gate.watchers) if (gate.reached >= watcher.count) watcher.resolve();
    if (gate.open) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        gate.waiting.delete(enter);
        reject(signal.reason as Error);
      };
      const enter = (): void => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      if (signal.aborted) return leave();
      signal.addEventListener("abort", leave, { once: true });
      gate.waiting.add(enter);
    });
  }

  open(name: string): void {
    const gate = this.#of(name);
    gate.open = true;
    for (const enter of gate.waiting) enter();
    gate.waiting.clear();
  }

  shut(name: string): void {
    this.#of(name).open = false;
  }

  /** Resolves when `count` exchanges have come to the gate, over all time. */
  reached(name: string, count: number): Promise<void> {
    const gate = this.#of(name);
    if (gate.reached >= count) return Promise.resolve();
    return new Promise((resolve) => {
      const watcher = {
        count,
        resolve: () => {
          gate.watchers.delete(watcher);
          resolve();
        },
      };
      gate.watchers.add(watcher);
    });
  }

  #of(name: string): Gate {
    let gate = this.#gates.get(name);
    if (gate === undefined) {
      gate = { open: false, reached: 0, waiting: new Set(), watchers: new Set() };
      this.#gates.set(name, gate);
    }
    return gate;
  }
}

interface Gate {
  open: boolean;
  reached: number;
  readonly waiting: Set<() => void>;
  readonly watchers: Set<{ readonly count: number; resolve(): void }>;
}
