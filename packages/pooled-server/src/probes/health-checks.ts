/** Tells whether a dependency works: resolves if it does, rejects with the reason if not. */
export interface HealthCheck {
  run(context: { signal: AbortSignal }): Promise<void>;
  /** Whether the service is of no use without it; then a failure turns `/readyz` to 503. Default false. */
  critical?: boolean;
  /** How long one run may take; default 2,000 ms. */
  timeoutMs?: number;
}

/** The last word on one check. */
export interface CheckResult {
  readonly status: "pass" | "fail" | "pending";
  readonly critical: boolean;
  readonly latency_ms: number;
  /** Wall-clock time of the last run, ISO 8601; absent before the first. */
  readonly time?: string;
  /** Why it fails. */
  readonly output?: string;
}

interface Entry {
  check: HealthCheck;
  result: CheckResult;
  running: Promise<void> | undefined;
  /** Its time was up and it has not settled. */
  stuck: boolean;
}

/**
 * Runs the checks in the background and keeps the last results, so that a probe costs nothing, a slow dependency
 * never slows a probe down, and many probes are not many checks.
 */
export class HealthChecks {
  readonly #entries = new Map<string, Entry>();
  readonly #intervalMs: number;
  readonly #onChange: () => void;
  readonly #clock: { now(): number };
  #timer: NodeJS.Timeout | undefined;

  constructor(options: { intervalMs: number; onChange: () => void; clock: { now(): number } }) {
    this.#intervalMs = options.intervalMs;
    this.#onChange = options.onChange;
    this.#clock = options.clock;
  }

  add(name: string, check: HealthCheck): void {
    const result: CheckResult = { status: "pending", critical: check.critical ?? false, latency_ms: 0 };
    this.#entries.set(name, { check, result, running: undefined, stuck: false });
  }

  /** Runs every check once and then again at each interval. Resolves after the first round. */
  async start(): Promise<void> {
    this.#timer ??= setInterval(() => void this.runAll(), this.#intervalMs).unref();
    await this.runAll();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  async runAll(): Promise<void> {
    await Promise.all([...this.#entries].map(([, entry]) => this.#run(entry)));
    this.#onChange();
  }

  results(): Record<string, CheckResult> {
    return Object.fromEntries([...this.#entries].map(([name, entry]) => [name, entry.result]));
  }

  get allPass(): boolean {
    return this.#none((result) => result.status === "fail");
  }

  get criticalPass(): boolean {
    return this.#none((result) => result.critical && result.status !== "pass");
  }

  #none(bad: (result: CheckResult) => boolean): boolean {
    for (const { result } of this.#entries.values()) if (bad(result)) return false;
    return true;
  }

  /** A check is not started again before it has settled, even if its time is up: it stays failed until then. */
  #run(entry: Entry): Promise<void> {
    if (entry.stuck) return Promise.resolve();
    entry.running ??= this.#runOnce(entry).finally(() => {
      entry.running = undefined;
    });
    return entry.running;
  }

  async #runOnce(entry: Entry): Promise<void> {
    const { check } = entry;
    const timeoutMs = check.timeoutMs ?? 2_000;
    const start = this.#clock.now();
    const abort = new AbortController();
    let timer: NodeJS.Timeout | undefined;
    // The race matters: a check may ignore its signal, and must not keep its last answer for ever.
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const error = new Error(`no answer within ${timeoutMs} ms`);
        reject(error);
        abort.abort(error);
      }, timeoutMs);
    });
    let failure: unknown;
    try {
      const run = Promise.resolve().then(() => check.run({ signal: abort.signal }));
      entry.stuck = true;
      run.catch(() => undefined).finally(() => (entry.stuck = false));
      await Promise.race([run, late]);
    } catch (error) {
      failure = error ?? new Error("failed without an error");
    } finally {
      clearTimeout(timer);
    }
    entry.result = Object.freeze({
      status: failure === undefined ? "pass" : "fail",
      critical: check.critical ?? false,
      latency_ms: Math.round((this.#clock.now() - start) * 100) / 100,
      time: new Date().toISOString(),
      ...(failure === undefined ? {} : { output: describe(failure) }),
    });
  }
}

function describe(failure: unknown): string {
  if (failure instanceof Error) return failure.message;
  return typeof failure === "string" ? failure : "failed without an error";
}
