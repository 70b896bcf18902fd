/** How waits are timed; Node's timers, or a test's. */
export interface Timers {
  /** Rings once after `delayMs`. `keepAlive`: the process must not end before it. */
  set(ring: () => void, delayMs: number, keepAlive: boolean): object;
  clear(timer: object): void;
}

export const nodeTimers: Timers = {
  set(ring, delayMs, keepAlive) {
    const timer = setTimeout(ring, delayMs);
    return keepAlive ? timer : timer.unref();
  },
  clear: (timer) => clearTimeout(timer as NodeJS.Timeout),
};
