import type pg from "pg";
import { activityOf, destroyNow, whenReady } from "../protocol/pg-client.ts";
import { watchLimits, type Limits } from "./limits.ts";
import type { QueryCall } from "./query-call.ts";
import { leadToCaller } from "./lead-to-caller.ts";
import { runQuery, timeoutError } from "./run-query.ts";

/**
 * The queries of one borrower on one connection, one at a time and in the order of the calls. A connection runs them
 * one after another anyway; waiting here keeps them out of pg's queue, which is deprecated and cannot be left.
 */
export class Session {
  readonly #pool: string;
  readonly #client: pg.Client;
  readonly #defaultTimeoutMs: number;
  readonly #beforeEach: () => void;
  #running = false;
  readonly #line: { start: () => void }[] = [];

  /** `beforeEach` may refuse a query, by throwing, when it is its turn. */
  constructor(
    pool: string,
    client: pg.Client,
    defaultTimeoutMs: number,
    beforeEach: () => void = (): void => undefined,
  ) {
    this.#pool = pool;
    this.#client = client;
    this.#defaultTimeoutMs = defaultTimeoutMs;
    this.#beforeEach = beforeEach;
  }

  /** Runs a query when it is its turn; its limits hold from the call. */
  async run<T extends object>(call: QueryCall): Promise<T> {
    const { signal, timeoutMs } = call;
    const limits: Limits = { signal, timeoutMs: timeoutMs ?? this.#defaultTimeoutMs };
    if (signal?.aborted) throw signal.reason;
    if (this.#running) await spend(limits, this.#turn(limits));
    this.#running = true;
    try {
      // After a failure, how the connection stands is known when the server is ready again.
      if (activityOf(this.#client) === "settling") await spend(limits, this.#settled(limits));
      this.#beforeEach();
      return await runQuery<T>(this.#pool, this.#client, call, limits);
    } catch (error) {
      leadToCaller(error);
      throw error;
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

  #settled(limits: Limits): Promise<void> {
    return new Promise((resolve, reject) => {
      const off = watchLimits(limits, timeoutError(this.#pool, limits), (error) => {
        reject(error);
        destroyNow(this.#client);
      });
      void whenReady(this.#client).then(() => {
        off();
        resolve();
      });
    });
  }
}

/** Waits, and takes the time of the wait off the limits. */
async function spend(limits: Limits, wait: Promise<void>): Promise<void> {
  const since = performance.now();
  await wait;
  if (limits.timeoutMs === undefined) return;
  limits.allowedMs ??= limits.timeoutMs;
  limits.timeoutMs = Math.max(1, limits.timeoutMs - (performance.now() - since));
}
