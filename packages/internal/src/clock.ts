/** Milliseconds from an arbitrary start that never go back, whatever happens to the wall clock. */
export const monotonicClock: { now(): number } = { now: () => performance.now() };
