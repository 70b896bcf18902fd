import { checkOptions } from "@vg/internal";
import { PooledServerConfigError } from "../errors.ts";
import { BackgroundCheck, type CheckResult, type CheckTime, type HealthCheck } from "./background-check.ts";

const TIMEOUT_MS = 2_000;
const LEAST_INTERVAL_MS = 10;

interface Options extends CheckTime {
  intervalMs: number;
  /** Called after each run with what it changed. */
  onResult: (name: string, result: CheckResult, previous: CheckResult) => void;
}

/**
 * Runs the checks in the background and keeps the last results, so that a probe costs nothing, a slow dependency never
 * slows a probe down, and many probes are not many checks. Each check goes its own pace: one that hangs holds up no other.
 */
export class HealthChecks {
  readonly #checks = new Map<string, BackgroundCheck>();
  readonly #options: Options;
  #running = false;
  #stopped = false;

  constructor(options: Options) {
    this.#options = options;
  }

  /**
   * Adds a check. One that is added while the others run is run at once; until it has a result it counts for nothing.
   * The result takes it off again.
   * @throws PooledServerConfigError for options that cannot be, and for a name that is taken
   */
  add(name: string, check: HealthCheck): () => void {
    if (typeof name !== "string" || name === "") {
      throw new PooledServerConfigError("addHealthCheck: the name must be a string that is not empty");
    }
    const owner = `The health check ${JSON.stringify(name)}`;
    if (this.#checks.has(name)) {
      throw new PooledServerConfigError(`${owner} exists already; take it off first, or choose another name.`);
    }
    const entry: BackgroundCheck = new BackgroundCheck(this.#checked(owner, check), this.#options, (previous) => {
      // One that was taken off meanwhile has nothing more to say.
      if (this.#checks.get(name) === entry) this.#options.onResult(name, entry.result, previous);
    });
    this.#checks.set(name, entry);
    if (this.#stopped) entry.stop();
    else if (this.#running) void entry.start();
    return () => {
      entry.stop();
      if (this.#checks.get(name) !== entry) return;
      const { result } = entry;
      this.#checks.delete(name);
      this.#options.onResult(name, result, result);
    };
  }

  #checked(owner: string, check: HealthCheck): ConstructorParameters<typeof BackgroundCheck>[0] {
    const options = checkOptions(owner, check, (message) => new PooledServerConfigError(message));
    const run = options.function<HealthCheck["run"]>("run");
    if (run === undefined) throw options.refuse("run", "a function");
    const checked = {
      // As a method: it may be one of a class.
      run: (context: { signal: AbortSignal }) => run.call(check, context),
      critical: options.boolean("critical", { fallback: false }),
      timeoutMs: options.durationMs("timeoutMs", { fallback: TIMEOUT_MS, min: 1 }),
      intervalMs: options.durationMs("intervalMs", { fallback: this.#options.intervalMs, min: LEAST_INTERVAL_MS }),
      failureThreshold: options.integer("failureThreshold", { fallback: 1, min: 1 }),
      successThreshold: options.integer("successThreshold", { fallback: 1, min: 1 }),
    };
    options.noOthers();
    return checked;
  }

  /** Runs every check now and then at intervals. Resolves when each has a first result, or when they are stopped. */
  async start(): Promise<void> {
    this.#running = true;
    await Promise.all([...this.#checks.values()].map((check) => check.start()));
  }

  /** For good. Runs under way are told to end; what they still find is not taken. */
  stop(): void {
    this.#running = false;
    this.#stopped = true;
    for (const check of this.#checks.values()) check.stop();
  }

  /** Runs every check now; resolves when each has passed, failed, or run out of time. */
  async runAll(): Promise<void> {
    await Promise.all([...this.#checks.values()].map((check) => check.run()));
  }

  results(): Readonly<Record<string, CheckResult>> {
    return Object.fromEntries([...this.#checks].map(([name, { result }]) => [name, result]));
  }

  /** Whether each has run at least once. */
  get allKnown(): boolean {
    return [...this.#checks.values()].every(({ result }) => result.status !== "pending");
  }

  /** The names of those that fail. */
  failing(): string[] {
    return [...this.#checks].filter(([, { result }]) => result.status === "fail").map(([name]) => name);
  }

  /** The names of the critical ones that fail. */
  failingCritical(): string[] {
    return this.failing().filter((name) => this.#checks.get(name)?.result.critical === true);
  }
}
