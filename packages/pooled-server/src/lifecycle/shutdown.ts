/** One step of the shutdown. `run` gets what it may take in milliseconds, and names what it had to kill. */
export interface ShutdownStep {
  name: string;
  /** The part of the time still left, 0..1, that the step may take. */
  share: number;
  run(deadlineMs: number): Promise<readonly string[] | undefined | void> | readonly string[] | void;
}

/** What `close()` resolves to. */
export interface ShutdownReport {
  /** Whether every step ended by itself and in time. */
  readonly clean: boolean;
  readonly duration_ms: number;
  /** What did not end in time or failed, by name, for the log. */
  readonly stuck: readonly string[];
}

/**
 * Runs the steps in order under one deadline. A step that fails or outstays its share is named, and the next one
 * starts all the same: nothing that hangs may keep the rest from closing.
 */
export async function runShutdown(
  steps: readonly ShutdownStep[],
  timeoutMs: number,
  clock: { now(): number },
): Promise<ShutdownReport> {
  const start = clock.now();
  const stuck: string[] = [];
  for (const step of steps) {
    const left = Math.max(0, timeoutMs - (clock.now() - start));
    const share = left * step.share;
    try {
      const killed = await withinDeadline(
        Promise.resolve().then(() => step.run(share)),
        share,
      );
      if (killed === LATE) stuck.push(`${step.name}: not finished after ${Math.round(share)} ms`);
      else stuck.push(...(killed ?? []).map((what) => `${step.name}: ${what}`));
    } catch (error) {
      stuck.push(`${step.name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return Object.freeze({ clean: stuck.length === 0, duration_ms: Math.round(clock.now() - start), stuck });
}

const LATE = Symbol("late");
// A step closes things by its own deadline; the outer one only catches a step that ignores it.
const GRACE_MS = 250;

async function withinDeadline<T>(work: Promise<T>, deadlineMs: number): Promise<T | typeof LATE> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<typeof LATE>((resolve) => {
    timer = setTimeout(() => resolve(LATE), deadlineMs + GRACE_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
