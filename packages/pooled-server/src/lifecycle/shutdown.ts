import { describeValue } from "@vg/internal";
import { Deadline, LATE } from "./deadline.ts";

/** One phase of the shutdown. */
export interface ShutdownPhase {
  readonly name: string;
  /** Its share of the time that is left, in relation to the weights of the phases after it. */
  readonly weight: number;
  /** It has phases of its own, which have names of their own and keep to its deadline. */
  readonly composed?: boolean;
  /** Names what it had to kill. May be sync; may throw. */
  run(budget: PhaseBudget): unknown;
}

/** What a phase may take. */
export interface PhaseBudget {
  /** Milliseconds from the phase's start. */
  readonly deadlineMs: number;
  /** Aborts at that deadline, or where the shutdown is told to hurry; a moment later the next phase starts. */
  readonly signal: AbortSignal;
  /** The same deadline, for phases inside the phase. */
  readonly deadline: Deadline;
}

/** What one phase took of the time. */
export interface PhaseReport {
  readonly name: string;
  readonly duration_ms: number;
  /** What it might have taken. */
  readonly budget_ms: number;
  /** Whether it ended by itself and in time. */
  readonly clean: boolean;
}

/** What `close()` resolves to. */
export interface ShutdownReport {
  /** Whether every phase ended by itself and in time. */
  readonly clean: boolean;
  readonly duration_ms: number;
  /** What did not end in time or failed, by name, for the log. */
  readonly stuck: readonly string[];
  /** In order. */
  readonly phases: readonly PhaseReport[];
}

/** What was found so far; a later phase may tell of it. */
export interface Findings {
  readonly stuck: string[];
  readonly phases: PhaseReport[];
}

/** Enough to kill things in, where no time is left to wait for them. */
const LEAST_MS = 20;
/** The part of a phase's time that comes after its deadline, and its limits: to kill, and to say what was killed. */
const MARGIN_PART = 0.1;
const LEAST_MARGIN_MS = 10;
const MOST_MARGIN_MS = 50;

/**
 * Runs the phases in order under one deadline. Each may take its share of what is left, by weight, so that one that hangs
 * takes nothing from the later ones, and what one does not need goes to all after it. A phase that fails or outstays its
 * share is named, and the next one starts all the same: nothing that hangs may keep the rest from closing.
 */
export async function runPhases(
  phases: readonly ShutdownPhase[],
  deadline: Deadline,
  clock: { now(): number },
  findings: Findings,
): Promise<void> {
  for (const [i, phase] of phases.entries()) {
    const weightLeft = phases.slice(i).reduce((sum, { weight }) => sum + weight, 0);
    const budgetMs = Math.max(LEAST_MS, (deadline.leftMs * phase.weight) / weightLeft);
    const startedAt = clock.now();
    const found = await runPhase(phase, deadline, budgetMs, clock);
    const tookMs = Math.round(clock.now() - startedAt);
    const stuck = found ?? [`not finished after ${tookMs} ms`];
    findings.stuck.push(...stuck.map((what) => (phase.composed === true ? what : `${phase.name}: ${what}`)));
    findings.phases.push(
      Object.freeze({
        name: phase.name,
        duration_ms: tookMs,
        budget_ms: Math.round(budgetMs),
        clean: stuck.length === 0,
      }),
    );
  }
}

/** What the phase could not end well; `undefined` where it has not ended at all. */
async function runPhase(
  phase: ShutdownPhase,
  deadline: Deadline,
  budgetMs: number,
  clock: { now(): number },
): Promise<string[] | undefined> {
  const marginMs = Math.min(MOST_MARGIN_MS, Math.max(LEAST_MARGIN_MS, budgetMs * MARGIN_PART));
  const deadlineMs = budgetMs - marginMs;
  const own = new Deadline(deadlineMs, clock, deadline);
  const abort = new AbortController();
  try {
    if (phase.composed === true) {
      return asWords(
        await phase.run({
          deadlineMs: budgetMs,
          signal: abort.signal,
          deadline: new Deadline(budgetMs, clock, deadline),
        }),
      );
    }
    const work = Promise.resolve().then(() => phase.run({ deadlineMs, signal: abort.signal, deadline: own }));
    let found = await deadline.within(work, deadlineMs);
    if (found === LATE) {
      abort.abort(new Error(`The time of the shutdown's phase "${phase.name}" is up`));
      found = await deadline.within(work, marginMs);
    }
    return found === LATE ? undefined : asWords(found);
  } catch (error) {
    return [asWord(error)];
  }
}

function asWords(found: unknown): string[] {
  return Array.isArray(found) ? found.map(asWord) : [];
}

/** Whatever it is: what cannot be read must not keep the rest from closing. */
function asWord(said: unknown): string {
  try {
    return said instanceof Error ? said.message : String(said);
  } catch {
    return describeValue(said);
  }
}
