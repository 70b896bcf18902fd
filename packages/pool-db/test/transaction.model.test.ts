import fc from "fast-check";
import { expect, test } from "vitest";
import { TransactionAbortedError, TransactionStateError, type Savepoint } from "../src/index.ts";
import { usePostgres } from "./support.ts";

const postgres = usePostgres();

type Step = "insert" | "fail" | "savepoint" | "release" | "undo" | "undo outermost" | "commit" | "rollback";
const step = fc.constantFrom<Step>(
  "insert",
  "insert",
  "fail",
  "savepoint",
  "savepoint",
  "release",
  "undo",
  "undo outermost",
  "commit",
  "rollback",
);

/** What a transaction must be at each moment: the rows it would commit, its open savepoints, and whether it failed. */
interface Model {
  state: "open" | "failed" | "ended";
  rows: number[];
  savepoints: { handle: Savepoint; rows: number[] }[];
}

test("in every order of steps a transaction commits what its model says, and refuses what its state forbids", async () => {
  const pool = postgres.pool({ maxOpenConns: 1 });
  await pool.exec("create table model (n int)");
  let next = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 14, size: "max" }), async (steps) => {
      await pool.exec("truncate model");
      const tx = await pool.begin();
      const model: Model = { state: "open", rows: [], savepoints: [] };
      let committed: number[] = [];
      for (const action of steps) {
        const current = model.savepoints.at(action === "undo outermost" ? 0 : -1);
        if (action === "commit" || action === "rollback") {
          const outcome = tx[action]();
          if (model.state === "ended") await expect(outcome).rejects.toThrow(TransactionStateError);
          else if (action === "commit" && model.state === "failed") {
            await expect(outcome).rejects.toThrow(TransactionAbortedError);
          } else {
            await outcome;
            if (action === "commit") committed = model.rows;
          }
          model.state = "ended";
          continue;
        }
        const undoing = action === "undo" || action === "undo outermost";
        if ((action === "release" || undoing) && current === undefined) continue;
        const outcome = {
          insert: () => tx.exec("insert into model values ($1)", [next]),
          fail: () => tx.query("select 1 / 0"),
          savepoint: () => tx.savepoint(),
          release: () => current?.handle.release(),
          undo: () => current?.handle.rollback(),
          "undo outermost": () => current?.handle.rollback(),
        }[action]();
        const error = await Promise.resolve(outcome).then(
          () => undefined,
          (caught: unknown) => caught,
        );
        if (model.state === "ended") {
          expect(error).toBeInstanceOf(TransactionStateError);
          continue;
        }
        if (action === "release" || action === "undo") model.savepoints.pop();
        else if (action === "undo outermost") {
          for (const { handle } of model.savepoints.splice(0).slice(1)) {
            await expect(handle.release()).rejects.toThrow(TransactionStateError);
          }
        }
        if (undoing && current !== undefined) {
          expect(error).toBeUndefined();
          model.state = "open";
          model.rows = current.rows;
        } else if (model.state === "failed" || action === "fail") {
          expect(error).toMatchObject({ code: model.state === "failed" ? "25P02" : "22012" });
          model.state = "failed";
        } else {
          expect(error).toBeUndefined();
          if (action === "insert") model.rows = [...model.rows, next++];
          if (action === "savepoint") {
            model.savepoints.push({ handle: (await outcome) as Savepoint, rows: model.rows });
          }
        }
      }
      await tx[Symbol.asyncDispose]();
      const { rows } = await pool.query<{ n: number }>("select n from model order by n");
      expect(rows.map(({ n }) => n)).toEqual(committed);
    }),
    { numRuns: 60 },
  );
  expect(pool.getStats()).toMatchObject({ in_use: 0, create_count: 1, dirty_closed: 0, broken_closed: 0 });
});
