import assert from "node:assert/strict";
import type pg from "pg";
import { AcquireTimeoutError, CommitUnknownError, ConnectError } from "../../src/index.ts";

const CAPACITY = 20_000_000;

const OPEN = 1;
const WRITTEN = 2;
const UNKNOWN = 3;
const NOT_WRITTEN = 4;

/** The error with which a caller rolls its own transaction back. */
export class Rollback extends Error {}

/**
 * What became of each row that somebody wrote or tried to: one byte for each, taken at the start, so that the books don't
 * show in the heap.
 */
export class Ledger {
  readonly #fates = new Uint8Array(CAPACITY);
  #next = 1;

  /**
   * Gives out so many new ids and enters what becomes of them. `atomic`: only an error that says so leaves the outcome
   * open, as in a transaction; otherwise every loss of the connection and every limit does.
   */
  async enter(count: number, atomic: boolean, write: (ids: number[]) => Promise<unknown>): Promise<void> {
    const ids = Array.from({ length: count }, () => this.#next++);
    assert.ok(this.#next < CAPACITY, "the ledger is full");
    this.#set(ids, OPEN);
    try {
      await write(ids);
      this.#set(ids, WRITTEN);
    } catch (error) {
      this.#set(ids, isCertain(error, atomic) ? NOT_WRITTEN : UNKNOWN);
      throw error;
    }
  }

  /** Compares with what the table has; `client` reads it. Throws at the first row that is missing or should not be there. */
  async check(client: pg.Client): Promise<string> {
    const counts = { written: 0, unknown: 0, notWritten: 0, unknownAndThere: 0 };
    const PAGE = 50_000;
    for (let from = 0; from < this.#next; from += PAGE) {
      const text = "select id::int from soak where id >= $1 and id < $2";
      const { rows } = await client.query<[number]>({ text, values: [from, from + PAGE], rowMode: "array" });
      const there = new Set(rows.map(([id]) => id));
      for (let id = from; id < Math.min(from + PAGE, this.#next); id++) {
        const fate = this.#fates[id];
        assert.notEqual(fate, OPEN, `row ${id}: nobody was told what became of it`);
        if (fate === WRITTEN) {
          counts.written++;
          assert.ok(there.has(id), `row ${id} was acknowledged and is lost`);
        } else if (fate === NOT_WRITTEN) {
          counts.notWritten++;
          assert.ok(!there.has(id), `row ${id} is there, though its writer was told that it was not written`);
        } else if (fate === UNKNOWN) {
          counts.unknown++;
          if (there.has(id)) counts.unknownAndThere++;
        }
      }
    }
    const { rows } = await client.query("select pair from soak where pair > 0 group by pair having count(*) <> 2");
    assert.deepEqual(rows, [], "transactions that were carried out by half");
    const { written, notWritten, unknown, unknownAndThere } = counts;
    return `${written} rows acknowledged, all there; ${notWritten} refused, none there; ${unknown} unknown, of which ${unknownAndThere} there`;
  }

  #set(ids: readonly number[], fate: number): void {
    for (const id of ids) this.#fates[id] = fate;
  }
}

/** Whether the error means that nothing was written. */
function isCertain(error: unknown, atomic: boolean): boolean {
  if (error instanceof Rollback || error instanceof AcquireTimeoutError || error instanceof ConnectError) return true;
  if (atomic) return !(error instanceof CommitUnknownError);
  const { severity, code = "" } = error as { severity?: string; code?: string };
  // The server has refused it, and goes on.
  return severity === "ERROR" && !code.startsWith("57P");
}
