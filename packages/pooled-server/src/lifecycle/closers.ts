import { LifecycleError } from "../errors.ts";
import type { Deadline } from "./deadline.ts";
import { runPhases, type Findings, type PhaseBudget } from "./shutdown.ts";

/**
 * Closes something of the service's.
 *
 * @param deadlineMs what it may take; the shutdown goes on without it a moment later
 * @param context.signal aborts at that deadline, and where the shutdown is told to hurry
 * @returns strings that say what was lost, for the report and the log; anything else says nothing
 */
export type Closer = (deadlineMs: number, context: { signal: AbortSignal }) => unknown;

/** What the service wants closed while the pools are still open. */
export class Closers {
  readonly #closers: { name: string; close: Closer }[] = [];
  readonly #clock: { now(): number };
  #done = false;

  constructor(clock: { now(): number }) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#closers.length;
  }

  /**
   * The result takes it off again, unless it has been called.
   * @throws LifecycleError where all have been called already
   */
  add(name: string, close: Closer): () => void {
    if (this.#done) {
      throw new LifecycleError(`onClose(${JSON.stringify(name)}): what was to be closed has been closed already`);
    }
    const entry = { name, close };
    this.#closers.push(entry);
    return () => {
      const at = this.#closers.indexOf(entry);
      if (at !== -1) this.#closers.splice(at, 1);
    };
  }

  /** Calls all, the last one first, each with its share of the time; those that are added meanwhile are called then. */
  async run({ deadline }: PhaseBudget): Promise<string[]> {
    const findings: Findings = { stuck: [], phases: [] };
    await this.#runThose(deadline, findings);
    this.#done = true;
    await this.#runThose(deadline, findings);
    return findings.stuck;
  }

  async #runThose(deadline: Deadline, findings: Findings): Promise<void> {
    const phases = this.#closers
      .splice(0)
      .toReversed()
      .map(({ name, close }) => ({
        name,
        weight: 1,
        run: ({ deadlineMs, signal }: PhaseBudget) => close(deadlineMs, { signal }),
      }));
    await runPhases(phases, deadline, this.#clock, findings);
  }
}
