import { fullJitterDelay } from "@vg/internal";
import pg from "pg";
import type { DbPool } from "../db-pool.ts";
import { PoolClosedError } from "../errors.ts";
import type { DbConnection } from "../query/connection.ts";

const HEARTBEAT_MS = 10_000;
const ANSWER_MS = 5_000;
const BACKOFF = { baseMs: 1_000, capMs: 30_000 };

interface Subscription {
  readonly channel: string;
  readonly onNotification: (payload: string) => void;
  /** After each LISTEN: whoever missed something while there was none can look for it now. */
  readonly onSubscribed: () => void;
}

/**
 * LISTEN on one channel, over one connection of the pool that is held until `close()`. A heartbeat finds out when the
 * connection has gone silently; a lost one is replaced after a pause that grows with each failure.
 */
export class PgBossListener {
  readonly #pool: DbPool;
  readonly #subscription: Subscription;
  readonly #closing: AbortController = new AbortController();
  #conn: DbConnection | undefined;
  #timer: NodeJS.Timeout | undefined;
  #failures = 0;

  constructor(pool: DbPool, subscription: Subscription) {
    this.#pool = pool;
    this.#subscription = subscription;
  }

  /** Listens, or rejects; once it has listened, it sees to it that it goes on. */
  async open(): Promise<void> {
    const { signal } = this.#closing;
    const { channel, onNotification, onSubscribed } = this.#subscription;
    const conn = await this.#pool.acquire({ signal });
    const { client } = conn;
    client.on("notification", ({ payload }) => {
      if (this.#conn === conn && payload !== undefined) onNotification(payload);
    });
    client.once("end", () => this.#lost(conn));
    try {
      await conn.query(`LISTEN ${pg.escapeIdentifier(channel)}`, undefined, { signal, timeoutMs: ANSWER_MS });
      signal.throwIfAborted();
    } catch (error) {
      conn.discard();
      throw error;
    }
    this.#conn = conn;
    this.#failures = 0;
    this.#beatLater(conn);
    onSubscribed();
  }

  async close(): Promise<void> {
    this.#closing.abort();
    clearTimeout(this.#timer);
    const conn = this.#conn;
    this.#conn = undefined;
    // Its session listens, which the next borrower did not ask for.
    conn?.discard();
  }

  #later(ms: number, run: () => void): void {
    if (this.#closing.signal.aborted) return;
    this.#timer = setTimeout(run, ms).unref();
  }

  #beatLater(conn: DbConnection): void {
    if (this.#conn !== conn) return;
    this.#later(HEARTBEAT_MS, () => {
      this.#beat(conn).then(
        () => this.#beatLater(conn),
        () => this.#lost(conn),
      );
    });
  }

  /** Asks on the listening session itself, so that silence of the network and a lost subscription both show. */
  async #beat(conn: DbConnection): Promise<void> {
    const { channel } = this.#subscription;
    const text = "select 1 from pg_listening_channels() as c where c = $1";
    if ((await conn.exec(text, [channel], { timeoutMs: ANSWER_MS })) === 0) throw new Error("no longer listening");
  }

  #lost(conn: DbConnection): void {
    if (this.#conn !== conn) return;
    this.#conn = undefined;
    clearTimeout(this.#timer);
    conn.discard();
    this.#reopenLater();
  }

  #reopenLater(): void {
    this.#later(fullJitterDelay(this.#failures++, BACKOFF), () => {
      this.open().catch((error: unknown) => {
        if (!(error instanceof PoolClosedError)) this.#reopenLater();
      });
    });
  }
}
