import type pg from "pg";
import { checkTimeout, watchLimits, type Limits, type QueryOptions } from "./limits.ts";
import { runQuery, timeoutError, type QueryInput } from "./run-query.ts";

/**
 * The queries of one borrower on one connection, one at a time and in the order of the calls. A connection runs them
 * one after another anyway; waiting here keeps them out of pg's queue, which is deprecated and cannot be left.
 */
export class Session {
  readonly #pool: string;
  readonly #client: pg.Client;
  readonly #defaultTimeoutMs: number;
  #running = false;
  readonly #line: { start: () => void }[] = [];

  constructor(pool: string, client: pg.Client, defaultTimeoutMs: number) {
    this.#pool = pool;
    this.#client = client;
    this.#defaultTimeoutMs = defaultTimeoutMs;
  }

  /** Runs a query when it is its turn; its limits hold from the call. */
  async run<T extends object>(
    input: QueryInput,
    values: readonly unknown[] | undefined,
    { signal, timeoutMs }: QueryOptions,
  ): Promise<T> {
    checkTimeout(this.#pool, timeoutMs);
    const limits: Limits = { signal, timeoutMs: timeoutMs ?? this.#defaultTimeoutMs };
    if (signal?.aborted) throw signal.reason;
    if (this.#running) {
      const since = performance.now();
      await this.#turn(limits);
      limits.allowedMs = limits.timeoutMs;
      if (limits.timeoutMs !== undefined) {
        limits.timeoutMs = Math.max(1, limits.timeoutMs - (performance.now() - since));
      }
    }
    this.#running = true;
    try {
      return await runQuery<T>(this.#pool, this.#client, input, values, limits);
    } finally {
      this.#running = false;
      // The next one sets #running before anybody else can ask.
      this.#line.shift()?.start();
    }
  }

  #turn(limits: Limits): Promise<void> {
    return new Promise((resolve, reject) => {
      const off = watchLimits(limits, timeoutError(this.#pool, limits), (error) => {
        this.#line.splice(this.#line.indexOf(entry), 1);
        reject(error);
      });
      const entry = {
        start: () => {
          off();
          this.#running = true;
          resolve();
        },
      };
      this.#line.push(entry);
    });
  }
}
