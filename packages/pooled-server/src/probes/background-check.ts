import { readFailure, readInfo } from "./check-outcome.ts";

/** Tells whether a dependency works: resolves if it does, rejects with the reason if not. */
export interface HealthCheck {
  /**
   * One look at the dependency. A plain object that it resolves to is shown as the result's `info`.
   * @param context.signal aborts when the time is up, and when the server closes
   */
  run(context: { signal: AbortSignal }): unknown;
  /** Whether the service is of no use without it; then a failure turns `/readyz` to 503. Default false. */
  critical?: boolean | undefined;
  /** How long one run may take, ms from 1; default 2,000. */
  timeoutMs?: number | undefined;
  /** How long from one run's end to the next run, ms from 10, give or take a tenth; default: the server's `healthIntervalMs`. */
  intervalMs?: number | undefined;
  /** How many runs in a row must fail before a check that passed fails, from 1; default 1. */
  failureThreshold?: number | undefined;
  /** How many runs in a row must pass before a check that failed passes, from 1; default 1. */
  successThreshold?: number | undefined;
}

/** The last word on one check. */
export interface CheckResult {
  readonly status: "pass" | "fail" | "pending";
  readonly critical: boolean;
  /** How long the last run took. */
  readonly latency_ms: number;
  /** Wall-clock time of the last run's end, ISO 8601; absent before the first. */
  readonly time?: string;
  /** Since when the status is what it is, ISO 8601; absent before the first run. */
  readonly since?: string;
  /** Why the last run failed, without the secrets that its words may hold. */
  readonly output?: string;
  /** What the last run told, where it passed. */
  readonly info?: Readonly<Record<string, unknown>>;
}

/** How checks tell the time, and what makes them go apart. */
export interface CheckTime {
  readonly clock: { now(): number };
  readonly random: () => number;
}

const JITTER_PART = 0.1;

type Settings = Required<{ [K in keyof HealthCheck]: NonNullable<HealthCheck[K]> }>;

/**
 * One check: its runs in the background, one at a time, and what the last one found.
 *
 * A run whose time is up counts as failed, whatever becomes of it; until it has settled no other is started, so that a
 * dependency that hangs does not collect callers that hang.
 */
export class BackgroundCheck {
  readonly #check: Settings;
  readonly #time: CheckTime;
  readonly #onResult: (previous: CheckResult) => void;
  #result: CheckResult;
  #failures = 0;
  #successes = 0;
  /** The run that somebody may wait for; ends at its timeout. */
  #running: Promise<void> | undefined;
  /** Since when a run has not settled, its time being up or not. */
  #unsettledSince: number | undefined;
  #giveUp: ((reason: Error) => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #started = false;
  #stopped = false;

  constructor(check: Settings, time: CheckTime, onResult: (previous: CheckResult) => void) {
    this.#check = check;
    this.#time = time;
    this.#onResult = onResult;
    this.#result = Object.freeze({ status: "pending", critical: check.critical, latency_ms: 0 });
  }

  get result(): CheckResult {
    return this.#result;
  }

  /** Runs it now and then at intervals. Resolves when it has a first result. */
  async start(): Promise<void> {
    this.#started = true;
    await this.run();
  }

  /** No result from now on; a run under way is told to end, and nobody waits for it any more. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#giveUp?.(new Error("The health checks were stopped"));
  }

  /** Runs it, or waits for the run under way. Never rejects. */
  run(): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    this.#running ??= this.#runOrWait().finally(() => {
      this.#running = undefined;
      this.#planNext();
    });
    return this.#running;
  }

  async #runOrWait(): Promise<void> {
    if (this.#unsettledSince === undefined) await this.#runOnce();
    else this.#stillUnsettled(this.#unsettledSince);
  }

  #planNext(): void {
    clearTimeout(this.#timer);
    if (!this.#started || this.#stopped) return;
    const jitter = 1 + JITTER_PART * (2 * this.#time.random() - 1);
    this.#timer = setTimeout(() => void this.run(), this.#check.intervalMs * jitter).unref();
  }

  async #runOnce(): Promise<void> {
    const { clock } = this.#time;
    const { timeoutMs } = this.#check;
    const startedAt = clock.now();
    const abort = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    // The race matters: a check may ignore its signal, and must not keep its last answer for ever.
    const givenUp = new Promise<never>((_, reject) => {
      this.#giveUp = (reason) => {
        reject(reason);
        abort.abort(reason);
      };
      // Not unref'd: somebody waits for the first result, perhaps with nothing else that keeps the process.
      timer = setTimeout(() => this.#giveUp?.(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    });
    this.#unsettledSince = startedAt;
    const run = Promise.resolve().then(() => this.#check.run({ signal: abort.signal }));
    const settled = (): void => {
      this.#unsettledSince = undefined;
    };
    run.then(settled, settled);
    let found: { info: CheckResult["info"] } | { output: string };
    try {
      found = { info: readInfo(await Promise.race([run, givenUp])) };
    } catch (error) {
      found = { output: readFailure(error) };
    } finally {
      clearTimeout(timer);
      this.#giveUp = undefined;
    }
    if (!this.#stopped) this.#record(clock.now() - startedAt, found);
  }

  #stillUnsettled(since: number): void {
    const forMs = Math.round(this.#time.clock.now() - since);
    this.#record(forMs, {
      output: `no answer within ${this.#check.timeoutMs} ms; that run has not ended for ${forMs} ms, and until it does the check is not run again`,
    });
  }

  #record(latencyMs: number, found: { info: CheckResult["info"] } | { output: string }): void {
    const failed = "output" in found;
    this.#failures = failed ? this.#failures + 1 : 0;
    this.#successes = failed ? 0 : this.#successes + 1;
    const previous = this.#result;
    const status = this.#statusAfter(previous.status, failed);
    const time = new Date().toISOString();
    this.#result = Object.freeze({
      status,
      critical: this.#check.critical,
      latency_ms: Math.round(latencyMs * 100) / 100,
      time,
      since: status === previous.status ? (previous.since ?? time) : time,
      ...(failed ? { output: found.output } : found.info === undefined ? {} : { info: found.info }),
    });
    this.#onResult(previous);
  }

  #statusAfter(previous: CheckResult["status"], failed: boolean): CheckResult["status"] {
    if (previous === "pass" && failed) return this.#failures >= this.#check.failureThreshold ? "fail" : "pass";
    if (previous === "fail" && !failed) return this.#successes >= this.#check.successThreshold ? "pass" : "fail";
    return failed ? "fail" : "pass";
  }
}
