/**
 * Writes what every request used into PostgreSQL, behind a bounded queue: a completion never waits for the database.
 *
 * Rows wait in memory, at most `capacity` of them, and are written in batches by one writer at a time. While the
 * database is away the writer tries again with backoff, and what no longer fits is lost: counted, and said in the log
 * once a minute at most. Every row has an id of its own, so that a batch whose outcome is unknown can be written again.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "@vg/logging";
import type { DbPool } from "@vg/pool-db";

/** What one request used. */
export interface UsageRow {
  readonly request_id: string;
  readonly trace_id: string;
  readonly route: string;
  /** The HTTP status; 499 where the client left. */
  readonly status: number;
  readonly model: string | null;
  readonly domain: string | null;
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly latency_ms: number;
  readonly cache_hit: boolean;
  readonly workflow_id: string | null;
  readonly user_id: string | null;
  readonly session_id: string | null;
}

const SCHEMA = `
create table if not exists vg_usage (
  id uuid primary key,
  created_at timestamptz not null,
  request_id text not null,
  trace_id text not null,
  route text not null,
  status integer not null,
  model text,
  domain text,
  prompt_tokens integer not null,
  completion_tokens integer not null,
  total_tokens integer not null,
  latency_ms double precision not null,
  cache_hit boolean not null,
  workflow_id text,
  user_id text,
  session_id text
);
create index if not exists vg_usage_created_at on vg_usage (created_at desc);
`;

/** Column and the array type that carries it; the order is that of the insert. */
const COLUMNS = [
  ["id", "uuid"],
  ["created_at", "timestamptz"],
  ["request_id", "text"],
  ["trace_id", "text"],
  ["route", "text"],
  ["status", "integer"],
  ["model", "text"],
  ["domain", "text"],
  ["prompt_tokens", "integer"],
  ["completion_tokens", "integer"],
  ["total_tokens", "integer"],
  ["latency_ms", "double precision"],
  ["cache_hit", "boolean"],
  ["workflow_id", "text"],
  ["user_id", "text"],
  ["session_id", "text"],
] as const;

// One array a column: the statement's text is the same for every size of batch.
const INSERT = `
insert into vg_usage (${COLUMNS.map(([name]) => name).join(", ")})
select * from unnest(${COLUMNS.map(([, type], i) => `$${i + 1}::${type}[]`).join(", ")})
on conflict (id) do nothing`;

const BATCH_ROWS = 500;
const WRITE_TIMEOUT_MS = 5_000;
const RETRY_MS = { first: 200, last: 10_000 };
const LOSS_LOG_INTERVAL_MS = 60_000;

interface StoredRow extends UsageRow {
  readonly id: string;
  readonly created_at: string;
}

export class UsageWriter {
  readonly #pool: DbPool;
  readonly #logger: Logger;
  readonly #capacity: number;
  readonly #queue: StoredRow[] = [];
  readonly #closing = new AbortController();
  #writing: Promise<void> | undefined;
  #schemaReady = false;
  /** Rows at the head of the queue whose batch is on its way. */
  #inFlight = 0;
  #written = 0;
  #lost = 0;
  #lostUnreported = 0;
  #lastLossLog = -Infinity;
  #lastError: string | undefined;

  constructor(pool: DbPool, logger: Logger, options: { capacity?: number } = {}) {
    this.#pool = pool;
    this.#logger = logger;
    this.#capacity = options.capacity ?? 10_000;
  }

  /** Queues a row. Never waits, never throws. */
  add(row: UsageRow): void {
    if (this.#closing.signal.aborted || this.#queue.length >= this.#capacity) {
      this.#countLost(1);
      return;
    }
    this.#queue.push({ ...withoutNul(row), id: randomUUID(), created_at: new Date().toISOString() });
    this.#writing ??= this.#write().finally(() => {
      this.#writing = undefined;
    });
  }

  /** Waits until the queue is empty, but no longer than this. For readers that want their own row. */
  async settled(maxMs: number): Promise<void> {
    await Promise.race([this.#writing, delay(maxMs, undefined, { ref: false })]);
  }

  getStats(): { queued: number; written: number; lost: number; capacity: number; last_error?: string } {
    return Object.freeze({
      queued: this.#queue.length,
      written: this.#written,
      lost: this.#lost,
      capacity: this.#capacity,
      ...(this.#lastError === undefined ? {} : { last_error: this.#lastError }),
    });
  }

  /**
   * Writes what is queued, within the deadline; the rest is lost, counted and logged. A batch that is on its way then is
   * counted by its own outcome. Returns what was lost, in words, for the report of a shutdown. Idempotent.
   */
  async close(deadlineMs: number): Promise<string[]> {
    await this.settled(deadlineMs);
    this.#closing.abort();
    const lost = this.#queue.splice(this.#inFlight).length;
    this.#countLost(lost);
    this.#reportLoss(true);
    return lost === 0 ? [] : [`${lost} rows were lost`];
  }

  async #write(): Promise<void> {
    let failures = 0;
    // How many rows are written one by one, after a batch that held a row which the database refuses.
    let singly = 0;
    while (this.#queue.length > 0 && !this.#closing.signal.aborted) {
      const batch = this.#queue.slice(0, singly > 0 ? 1 : BATCH_ROWS);
      this.#inFlight = batch.length;
      try {
        await this.#insert(batch);
        failures = 0;
        this.#lastError = undefined;
        this.#written += batch.length;
      } catch (error) {
        this.#inFlight = 0;
        if (!isAboutTheRows(error)) {
          if (!this.#closing.signal.aborted) await this.#waitToRetry(error, failures++);
          continue;
        }
        if (batch.length > 1) {
          singly = batch.length;
          continue;
        }
        // Trying again cannot help, and would hold up every row behind this one.
        this.#logger.error("The database refused a usage row", error, { request_id: batch[0]?.request_id });
        this.#countLost(1);
      }
      singly = Math.max(0, singly - 1);
      this.#inFlight = 0;
      this.#queue.splice(0, batch.length);
    }
    // Only a batch that close() left to its outcome, and that failed, can still be here.
    if (this.#closing.signal.aborted) {
      this.#countLost(this.#queue.splice(0).length);
      this.#reportLoss(true);
    }
  }

  async #insert(batch: readonly StoredRow[]): Promise<void> {
    if (!this.#schemaReady) {
      await this.#pool.exec(SCHEMA, [], { timeoutMs: WRITE_TIMEOUT_MS });
      this.#schemaReady = true;
    }
    const columns = COLUMNS.map(([name]) => batch.map((row) => row[name]));
    await this.#pool.exec(INSERT, columns, { timeoutMs: WRITE_TIMEOUT_MS });
  }

  async #waitToRetry(error: unknown, attempt: number): Promise<void> {
    this.#lastError = error instanceof Error ? error.message : String(error);
    // The table may have gone with a database that was replaced.
    this.#schemaReady = false;
    if (attempt === 0) this.#logger.warn("Usage rows wait for the database", { error, queued: this.#queue.length });
    const waitMs = Math.min(RETRY_MS.last, RETRY_MS.first * 2 ** attempt);
    await delay(waitMs, undefined, { signal: this.#closing.signal, ref: false }).catch(() => undefined);
  }

  #countLost(rows: number): void {
    if (rows === 0) return;
    this.#lost += rows;
    this.#lostUnreported += rows;
    this.#reportLoss(false);
  }

  #reportLoss(now: boolean): void {
    if (this.#lostUnreported === 0) return;
    if (!now && performance.now() - this.#lastLossLog < LOSS_LOG_INTERVAL_MS) return;
    this.#lastLossLog = performance.now();
    this.#logger.error("Usage rows were lost", {
      rows: this.#lostUnreported,
      lost_in_all: this.#lost,
      queue_capacity: this.#capacity,
      last_error: this.#lastError,
    });
    this.#lostUnreported = 0;
  }
}

/** PostgreSQL's text holds every character but NUL. */
function withoutNul(row: UsageRow): UsageRow {
  const entries = Object.entries(row).map(([name, value]) => [
    name,
    typeof value === "string" ? value.replaceAll("\0", "") : value,
  ]);
  return Object.fromEntries(entries) as unknown as UsageRow;
}

/** SQLSTATE classes 22 and 23: the data is wrong, not the database. */
function isAboutTheRows(error: unknown): boolean {
  for (let current = error; current instanceof Error; current = current.cause) {
    const { code } = current as { code?: unknown };
    if (typeof code === "string" && /^2[23][0-9A-Z]{3}$/.test(code)) return true;
  }
  return false;
}
