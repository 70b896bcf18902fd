import { addressText } from "./dsn.ts";
import { describeConnectError } from "./errors.ts";
import type { ResolvedOptions } from "./options.ts";
import type { RemovalReason } from "./pool/pool-stats.ts";

/** How often one and the same reason for failed dials is told of. */
const REPEAT_MS = 60_000;
const MAX_REASONS = 32;

/** What pg.Pool tells its `log` function when it closes a connection. */
const PG_REMOVALS: Partial<Record<RemovalReason, string>> = {
  max_uses: "remove expended client",
  max_lifetime: "remove expired client",
  max_idle_time: "remove idle client",
};

/** What a pool says to its logger. A logger that throws has no part in what the pool does. */
export class PoolLog {
  readonly #options: ResolvedOptions;
  /** When each reason for failed dials was last told of. */
  readonly #toldAt = new Map<string, number>();
  /** Failed dials since the last line about them. */
  #failures = 0;
  /** From the first failure to the next success; the logger hears of its end where it was told of a failure. */
  #outage: { since: number; failures: number; told: boolean } | undefined;
  /** Warnings that may come in crowds: when each was last told of, and how many came since. */
  readonly #often = new Map<string, { toldAt: number; count: number }>();

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
    const reason = describeConnectError(error);
    const now = this.#options.clock.now();
    this.#outage ??= { since: now, failures: 0, told: false };
    this.#outage.failures++;
    if (now - (this.#toldAt.get(reason) ?? -Infinity) < REPEAT_MS) return;
    if (this.#toldAt.size >= MAX_REASONS) this.#toldAt.clear();
    this.#toldAt.set(reason, now);
    this.#outage.told = true;
    this.warn("could not connect", {
      server: addressText(this.#options.server),
      error: reason,
      failures: this.#failures,
    });
    this.#failures = 0;
  }

  /** A warning that comes once a minute at most, with the `count` of those since the last and the latest error. */
  oftenWarned(message: string, error: Error): void {
    const now = this.#options.clock.now();
    const { toldAt, count } = this.#often.get(message) ?? { toldAt: -Infinity, count: 0 };
    if (now - toldAt < REPEAT_MS) return void this.#often.set(message, { toldAt, count: count + 1 });
    this.#often.set(message, { toldAt: now, count: 0 });
    this.warn(message, { error: error.message, count: count + 1 });
  }

  /** A dial succeeded; the logger is told of it after a failure that it was told of. */
  dialed(): void {
    const pgMessage = "new client connected";
    const outage = this.#outage;
    this.#outage = undefined;
    if (outage?.told !== true) return this.#sayToLog(pgMessage, {});
    const { since, failures } = outage;
    this.#failures = 0;
    const duration_ms = this.#options.clock.now() - since;
    this.#say("info", "connected again", { failures, duration_ms }, pgMessage);
  }

  /** A limit of every statement takes from `pipeline` all that it could do. */
  pipelineBeside(queryTimeoutMs: number): void {
    if (this.#options.maxShares === 1 || queryTimeoutMs === Infinity) return;
    this.warn(
      "pipeline has no effect beside queryTimeoutMs: a statement with a limit has a connection of its own. Let the server limit it (statement_timeout)",
      { query_timeout_ms: queryTimeoutMs },
    );
  }

  closed(processId: number | undefined, reason: RemovalReason): void {
    this.#say("debug", "connection closed", { process_id: processId, reason }, PG_REMOVALS[reason]);
  }

  #sayToLog(message: string, fields: object): void {
    try {
      this.#options.log?.(message, fields);
    } catch {
      // As below.
    }
  }

  /** `pgMessage` is what pg.Pool's `log` option would be told. */
  #say(level: "debug" | "info" | "warn", message: string, fields: object, pgMessage: string = message): void {
    const { name, logger } = this.#options;
    this.#sayToLog(pgMessage, fields);
    try {
      logger?.[level]({ pool: name, ...fields }, message);
    } catch {
      // There is nobody left to tell.
    }
  }
}
