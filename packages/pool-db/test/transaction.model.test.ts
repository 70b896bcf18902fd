import fc from "fast-check";
import { expect, test } from "vitest";
import {
  QueryTimeoutError,
  TransactionAbortedError,
  TransactionStateError,
  type Savepoint,
  type Tx,
} from "../src/index.ts";
import { usePostgres } from "./support.ts";

const postgres = usePostgres();

/** What may be done next. All but the last four are done on the innermost transaction that is open. */
const STEPS = [
  "insert",
  "insert",
  "fail",
  "abort",
  "time out",
  "savepoint",
  "savepoint",
  "release",
  "undo",
  "undo outermost",
  "nest",
  "nest",
  "nest",
  "succeed",
  "succeed",
  "throw",
  "commit",
  "rollback",
  "use an outer one",
  "nest in an outer one",
  "commit the outermost",
  "roll back the outermost",
] as const;
type Step = (typeof STEPS)[number];

/** A transaction, the first or one that is nested, and what must be true of it. */
interface Level {
  handle: Tx;
  /** The rows that are there when it is undone. */
  before: number[];
  savepoints: { handle: Savepoint; rows: number[] }[];
  /** Lets the function of a nested one return or throw, and says what became of it; the outermost has none. */
  end: ((error?: Error) => Promise<unknown>) | undefined;
}

/** Drives one transaction, and knows at each moment what it must be. */
class Run {
  readonly #levels: Level[];
  #state: "open" | "failed" | "ended" = "open";
  /** What COMMIT would make of the table. */
  #rows: number[] = [];
  #next = 0;
  committed: number[] = [];

  constructor(tx: Tx) {
    this.#levels = [{ handle: tx, before: [], savepoints: [], end: undefined }];
  }

  async step(step: Step): Promise<void> {
    switch (step) {
      case "insert":
        return this.#insert();
      case "fail":
        return this.#fails(await caught(this.#top.handle.query("select 1 / 0")), { code: "22012" });
      case "abort":
        return this.#abort();
      case "time out":
        return this.#timeOut();
      case "savepoint":
        return this.#savepoint();
      case "release":
      case "undo":
      case "undo outermost":
        return this.#endSavepoint(step);
      case "nest":
        return this.#nest();
      case "succeed":
      case "throw":
        return this.#leave(step);
      case "commit":
      case "rollback":
        return this.#end(step);
      case "use an outer one":
      case "nest in an outer one":
        return this.#useOuter(step);
      case "commit the outermost":
      case "roll back the outermost":
        return this.#endOutermost(step);
    }
  }

  /** Ends whatever is open, from the inside, as the end of the functions and of the `await using` block would. */
  async finish(): Promise<void> {
    while (this.#levels.length > 1) await this.#leave("throw");
    await this.#levels[0]?.handle[Symbol.asyncDispose]();
  }

  get #top(): Level {
    return this.#levels.at(-1) as Level;
  }

  /** A statement came out with this, which must be an error of its own unless the transaction could not run it anyway. */
  #fails(outcome: unknown, own: object): void {
    if (this.#state === "ended") return expect(outcome).toBeInstanceOf(TransactionStateError);
    expect(outcome).toMatchObject(this.#state === "failed" ? { code: "25P02" } : own);
    this.#state = "failed";
  }

  /** A statement came out with this; says whether it took effect, as it must where the transaction is open. */
  #tookEffect(outcome: unknown): boolean {
    if (this.#state === "open") expect(outcome).toHaveProperty("value");
    else this.#fails(outcome, {});
    return this.#state === "open";
  }

  async #insert(): Promise<void> {
    const n = this.#next++;
    if (this.#tookEffect(await caught(this.#top.handle.exec("insert into model values ($1)", [n])))) {
      this.#rows = [...this.#rows, n];
    }
  }

  /** Aborted when it is sent: whether it has run or not, nothing of it may stay. */
  async #abort(): Promise<void> {
    const controller = new AbortController();
    const options = { signal: controller.signal };
    const running = caught(this.#top.handle.exec("insert into model values (-1)", [], options));
    controller.abort();
    const outcome = await running;
    if (this.#state === "ended") return expect(outcome).toBeInstanceOf(TransactionStateError);
    expect(outcome).toBe(controller.signal.reason);
    this.#state = "failed";
  }

  async #timeOut(): Promise<void> {
    const outcome = await caught(this.#top.handle.query("select pg_sleep(600)", [], { timeoutMs: 2 }));
    // In a failed transaction the server answers at once; who is first is open.
    if (outcome instanceof QueryTimeoutError && this.#state !== "ended") this.#state = "failed";
    else this.#fails(outcome, { code: "ERR_VG_DB_QUERY_TIMEOUT" });
  }

  async #savepoint(): Promise<void> {
    const outcome = await caught(this.#top.handle.savepoint());
    if (!this.#tookEffect(outcome)) return;
    this.#top.savepoints.push({ handle: (outcome as { value: Savepoint }).value, rows: this.#rows });
  }

  async #endSavepoint(step: "release" | "undo" | "undo outermost"): Promise<void> {
    const { savepoints } = this.#top;
    const from = step === "undo outermost" ? 0 : savepoints.length - 1;
    const savepoint = savepoints[from];
    if (savepoint === undefined) return;
    const undoing = step !== "release";
    const outcome = await caught(undoing ? savepoint.handle.rollback() : savepoint.handle.release());
    if (this.#state === "ended") return expect(outcome).toBeInstanceOf(TransactionStateError);
    for (const { handle } of savepoints.splice(from).slice(1)) {
      await expect(handle.release()).rejects.toThrow(TransactionStateError);
    }
    if (!undoing) return void this.#tookEffect(outcome);
    expect(outcome).toHaveProperty("value");
    this.#undoTo(savepoint.rows);
  }

  async #nest(): Promise<void> {
    let end = (_error?: Error): void => undefined;
    let began = (_handle: Tx): void => undefined;
    const handed = new Promise<Tx>((resolve) => {
      began = resolve;
    });
    const outcome = caught(
      this.#top.handle.transaction((inner) => {
        began(inner);
        return new Promise((resolve, reject) => {
          end = (error) => (error === undefined ? resolve("done") : reject(error));
        });
      }),
    );
    const handle = await Promise.race([handed, outcome.then(() => undefined)]);
    if (handle === undefined) return void this.#tookEffect(await outcome);
    expect(this.#state).toBe("open");
    this.#levels.push({
      handle,
      before: this.#rows,
      savepoints: [],
      end: (error) => {
        end(error);
        return outcome;
      },
    });
  }

  /** The function of the innermost nested transaction returns, or throws. */
  async #leave(how: "succeed" | "throw"): Promise<void> {
    const { end, handle, before, savepoints } = this.#top;
    if (end === undefined) return;
    this.#levels.pop();
    const error = new Error("business says no");
    const outcome = await end(how === "throw" ? error : undefined);
    expect(handle.ended).toBe(true);
    for (const late of [
      () => handle.query("select 1"),
      () => handle.commit(),
      ...savepoints.map((s) => () => s.handle.release()),
    ]) {
      await expect(late()).rejects.toThrow(TransactionStateError);
    }
    if (how === "throw") expect(outcome).toBe(error);
    else if (this.#state === "open") expect(outcome).toEqual({ value: "done" });
    else expect(outcome).toBeInstanceOf(this.#state === "failed" ? TransactionAbortedError : TransactionStateError);
    if (how === "throw" || this.#state === "failed") this.#undoTo(before);
  }

  /** The innermost ends itself. */
  async #end(how: "commit" | "rollback"): Promise<void> {
    const { handle, before, end } = this.#top;
    const outcome = await caught(handle[how]());
    if (this.#state === "ended") return expect(outcome).toBeInstanceOf(TransactionStateError);
    const undone = how === "rollback" || this.#state === "failed";
    if (how === "commit" && undone) expect(outcome).toBeInstanceOf(TransactionAbortedError);
    else expect(outcome).toHaveProperty("value");
    if (end === undefined) {
      this.#state = "ended";
      this.committed = undone ? [] : this.#rows;
    } else {
      if (undone) this.#undoTo(before);
      this.#levels.pop();
      expect(await end()).toEqual({ value: "done" });
    }
  }

  /** While a nested one is open, those around it refuse whatever would become part of it. */
  async #useOuter(how: "use an outer one" | "nest in an outer one"): Promise<void> {
    if (this.#levels.length === 1) return;
    const { handle } = this.#levels.at(-2) as Level;
    const outcome =
      how === "use an outer one"
        ? handle.exec("insert into model values (-1)")
        : handle.transaction(() => Promise.resolve());
    await expect(outcome).rejects.toThrow(TransactionStateError);
  }

  async #endOutermost(how: "commit the outermost" | "roll back the outermost"): Promise<void> {
    if (this.#levels.length === 1) return;
    const { handle } = this.#levels[0] as Level;
    if (how === "commit the outermost" || this.#state === "ended") {
      await expect(handle.commit()).rejects.toThrow(TransactionStateError);
    } else {
      await handle.rollback();
      this.#state = "ended";
    }
  }

  #undoTo(rows: number[]): void {
    if (this.#state === "ended") return;
    this.#state = "open";
    this.#rows = rows;
  }
}

function caught(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    (value) => ({ value }),
    (error: unknown) => error,
  );
}

test("in every order of steps a transaction commits what its model says, and refuses what its state forbids", async () => {
  // All connections survive, on however slow a machine.
  const pool = postgres.pool({ maxOpenConns: 1, cancelTimeoutMs: 60_000, resetTimeoutMs: 60_000 });
  await pool.exec("create table model (n int)");
  await fc.assert(
    fc.asyncProperty(fc.array(fc.constantFrom(...STEPS), { maxLength: 20, size: "max" }), async (steps) => {
      await pool.exec("truncate model");
      const run = new Run(await pool.begin());
      for (const step of steps) await run.step(step);
      await run.finish();
      const { rows } = await pool.query<{ n: number }>("select n from model order by n");
      expect(rows.map(({ n }) => n)).toEqual(run.committed);
    }),
    { numRuns: 150 },
  );
  expect(pool.getStats()).toMatchObject({ in_use: 0, create_count: 1, dirty_closed: 0, broken_closed: 0 });
});
