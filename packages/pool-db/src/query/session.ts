import type pg from "pg";
import { QueryTimeoutError } from "../errors.ts";
import { activityOf, whenReady } from "../protocol/pg-client.ts";
import { recovery } from "./cancellation.ts";
import { limitOf, watchLimits, type Limits } from "./limits.ts";
import type { QueryCall } from "./query-call.ts";
import { leadToCaller } from "./lead-to-caller.ts";
import { runQuery } from "./run-query.ts";

/** A statement of a session. */
export interface SessionCall extends QueryCall, Pick<Limits, "atLimit"> {
  /** Called just before it is sent; not called where it never is. */
  readonly onSend?: (() => void) | undefined;
}

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
  async run<T extends object>(call: SessionCall): Promise<T> {
    const { signal, timeoutMs, atLimit } = call;
    const limits: Limits = {
      signal,
      timeoutMs: timeoutMs ?? this.#defaultTimeoutMs,
      atLimit,
      limitedBy: limitOf(timeoutMs),
    };
    if (signal?.aborted) throw signal.reason;
    if (this.#running) await spend(limits, this.#turn(limits));
    this.#running = true;
    try {
      // The one before may have been given up: then the connection is being made whole, or closed.
      const recovering = recovery(this.#client);
      if (recovering !== undefined) await spend(limits, this.#within(limits, recovering));
      // After a failure, how the connection stands is known when the server is ready again. And what its borrower runs by
      // pg's own client has its turn: to be cancelled in its place would be another's fate.
      const activity = activityOf(this.#client);
      if (activity === "settling" || activity === "busy") {
        await spend(limits, this.#within(limits, whenReady(this.#client)));
      }
      this.#beforeEach();
      if (activityOf(this.#client) !== "dead") call.onSend?.();
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
      const off = watchLimits(limits, this.#neverSent(limits), (error) => {
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

  #within(limits: Limits, quiet: Promise<boolean>): Promise<void> {
    return new Promise((resolve, reject) => {
      // It may have been aborted since the turn came.
      if (limits.signal?.aborted) return reject(limits.signal.reason);
      const off = watchLimits(limits, this.#neverSent(limits), reject);
      void quiet.then(() => {
        off();
        resolve();
      });
    });
  }

  #neverSent({ timeoutMs, allowedMs = timeoutMs, limitedBy = "timeoutMs" }: Limits): () => QueryTimeoutError {
    return () =>
      new QueryTimeoutError(
        this.#pool,
        `the query did not end within ${allowedMs} ms (${limitedBy}) and was never sent: its connection was still busy with the one before it. Raise ${limitedBy}, or make the one before it faster.`,
        { limitedBy, timeoutMs: allowedMs, sent: false },
      );
  }
}

/** Waits, and takes the time of the wait off the limits. */
async function spend(limits: Limits, wait: Promise<void>): Promise<void> {
  const since = performance.now();
  try {
    await wait;
  } catch (error) {
    leadToCaller(error);
    throw error;
  }
  if (limits.timeoutMs === undefined) return;
  limits.allowedMs ??= limits.timeoutMs;
  limits.timeoutMs = Math.max(1, limits.timeoutMs - (performance.now() - since));
}
