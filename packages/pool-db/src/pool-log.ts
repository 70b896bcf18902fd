import { describeError } from "./errors.ts";
import type { ResolvedOptions } from "./options.ts";

/** How often one and the same reason for failed dials is told of. */
const REPEAT_MS = 60_000;
const MAX_REASONS = 32;

/** What a pool says to its logger. A logger that throws has no part in what the pool does. */
export class PoolLog {
  readonly #options: ResolvedOptions;
  /** When each reason for failed dials was last told of. */
  readonly #toldAt = new Map<string, number>();
  #failures = 0;
  /** Whether the last word on dials was that they fail. */
  #failing = false;

  constructor(options: ResolvedOptions) {
    this.#options = options;
  }

  debug(message: string, fields: object): void {
    this.#say("debug", message, fields);
  }

  info(message: string, fields: object): void {
    this.#say("info", message, fields);
  }

  warn(message: string, fields: object): void {
    this.#say("warn", message, fields);
  }

  /**
   * A dial failed. While the server is down that happens all the time, so each reason is told of when it is new, and
   * then once a minute. `failures` counts those since the last such line.
   */
  dialFailed(error: unknown): void {
    this.#failures++;
    const reason = describeError(error);
    const now = this.#options.clock.now();
    if (now - (this.#toldAt.get(reason) ?? -Infinity) < REPEAT_MS) return;
    if (this.#toldAt.size >= MAX_REASONS) this.#toldAt.clear();
    this.#toldAt.set(reason, now);
    this.warn("could not connect", { error: reason, failures: this.#failures });
    this.#failures = 0;
    this.#failing = true;
  }

  /** A dial succeeded; told of after a failure that was told of. */
  dialed(): void {
    if (!this.#failing) return;
    this.#failing = false;
    this.#say("info", "connected again", {});
  }

  #say(level: "debug" | "info" | "warn", message: string, fields: object): void {
    const { name, log, logger } = this.#options;
    try {
      log?.(message, fields);
      logger?.[level]({ pool: name, ...fields }, message);
    } catch {
      // There is nobody left to tell.
    }
  }
}
