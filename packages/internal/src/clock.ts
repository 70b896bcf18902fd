/** Milliseconds from an arbitrary start that never go back, whatever happens to the wall clock. */
export const monotonicClock: { now(): number } = { now: () => performance.now() };

/** The longest delay, in milliseconds, that Node's timers hold: 24.8 days. Beyond it they fire at once. */
export const LONGEST_DELAY_MS: number = 2 ** 31 - 1;
