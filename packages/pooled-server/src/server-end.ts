/**
 * The end of a server: once, under one deadline that counts from the first call, whoever asks for it and however often.
 * What is closed, and in which order, is `shutdown-phases.ts`; this is about when.
 */
import { checkOptions } from "@vg/internal";
import type { FlushReport, Logger } from "@vg/logging";
import { PooledServerConfigError } from "./errors.ts";
import { Deadline } from "./lifecycle/deadline.ts";
import type { Lifecycle } from "./lifecycle/lifecycle.ts";
import {
  runPhases,
  type Findings,
  type PhaseBudget,
  type ShutdownPhase,
  type ShutdownReport,
} from "./lifecycle/shutdown.ts";
import { LOG_WEIGHT } from "./shutdown-phases.ts";

interface Parts {
  readonly clock: { now(): number };
  readonly shutdownTimeoutMs: number;
  readonly shutdownDelayMs: number;
  readonly lifecycle: Lifecycle;
  readonly logger: Logger;
  /** Whether the logger is closed, or only flushed. */
  readonly ownsLogger: boolean;
  /** Whether there is anybody to be served during the delay. */
  readonly listens: () => boolean;
  /** Before the change to "draining": from now on nothing counts as healthy, and each answer is its connection's last. */
  readonly prepare: () => void;
  /** All but the log; asked for when the delay is over. */
  readonly phases: () => readonly ShutdownPhase[];
  /** Right before the last line. */
  readonly stop: () => void;
}

export class ServerEnd {
  readonly #parts: Parts;
  #refusing = false;
  #begun: { readonly deadline: Deadline; readonly done: Promise<ShutdownReport> } | undefined;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  get begun(): boolean {
    return this.#begun !== undefined;
  }

  /** Whether nothing new is accepted any more. */
  get refusing(): boolean {
    return this.#refusing;
  }

  /** Never rejects; every call gets the same promise. A later call may bring the deadline forward. */
  begin(options: { deadlineMs?: number }): Promise<ShutdownReport> {
    const deadlineMs = checkCloseOptions(options);
    if (this.#begun !== undefined) {
      if (deadlineMs !== undefined) this.#begun.deadline.atMost(deadlineMs);
      return this.#begun.done;
    }
    const { clock, shutdownTimeoutMs, shutdownDelayMs, lifecycle, prepare } = this.#parts;
    const wholeMs = deadlineMs ?? shutdownTimeoutMs;
    const deadline = new Deadline(wholeMs, clock);
    const startedAt = clock.now();
    // A deadline of the caller's knows nothing of the delay, which must leave time for the rest.
    const delayMs = deadlineMs === undefined ? shutdownDelayMs : Math.min(shutdownDelayMs, wholeMs / 2);
    // A listener of the change to "draining" that calls close() has to find it.
    const done = Promise.resolve().then(() => this.#run(deadline, startedAt, delayMs));
    this.#begun = { deadline, done };
    prepare();
    lifecycle.to("draining");
    return done;
  }

  async #run(deadline: Deadline, startedAt: number, delayMs: number): Promise<ShutdownReport> {
    const { clock, listens, phases } = this.#parts;
    if (delayMs > 0 && listens()) await deadline.pause(delayMs);
    this.#refusing = true;
    const found: Findings = { stuck: [], phases: [] };
    const durationMs = (): number => Math.round(clock.now() - startedAt);
    const log = {
      name: "log",
      weight: LOG_WEIGHT,
      run: (budget: PhaseBudget) => this.#endLog(budget, found, durationMs()),
    };
    await runPhases([...phases(), log], deadline, clock, found);
    return Object.freeze({
      clean: found.stuck.length === 0,
      duration_ms: durationMs(),
      stuck: Object.freeze(found.stuck),
      phases: Object.freeze(found.phases),
    });
  }

  /** The last state, the last line, and the lines' way out. */
  async #endLog({ deadlineMs }: PhaseBudget, { stuck, phases }: Findings, durationMs: number): Promise<string[]> {
    const { stop, lifecycle, logger, ownsLogger } = this.#parts;
    stop();
    lifecycle.to("closed");
    if (stuck.length === 0) logger.info("Closed", { duration_ms: durationMs });
    else logger.warn("Closed, but not everything ended by itself", { duration_ms: durationMs, stuck, phases });
    // A logger of the user's stays theirs, and may be one that gives no report.
    const ended = ownsLogger ? logger.close({ deadlineMs }) : logger.flush({ deadlineMs });
    const left = ((await ended) as FlushReport | undefined)?.lines_left ?? 0;
    return left > 0 ? [`${left} lines were not taken by their destination`] : [];
  }
}

function checkCloseOptions(options: { deadlineMs?: number }): number | undefined {
  const check = checkOptions("close()", options, (message) => new PooledServerConfigError(message));
  const given = check.raw("deadlineMs") !== undefined;
  const deadlineMs = check.durationMs("deadlineMs", { fallback: 0 });
  check.noOthers();
  return given ? deadlineMs : undefined;
}
