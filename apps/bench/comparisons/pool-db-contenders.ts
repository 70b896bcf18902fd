import type { Contender, Parameters } from "../harness/contender.ts";
import { field, numberField, textField } from "../harness/values.ts";
import { runConcurrently } from "./concurrency.ts";
import { INSERT, isItem, itemOf, SELECT, UNIQUE_VIOLATION, violates } from "./pool-db-workload.ts";

interface PoolUnderTest {
  query(statement: string, sql: string, values: unknown[]): Promise<{ rows: unknown[] }>;
  close(): Promise<unknown>;
}

export async function createContender(name: string, parameters: Parameters): Promise<Contender> {
  const max = numberField(parameters, "max");
  const concurrency = numberField(parameters, "concurrency");
  const mix = parameters["mix"] === true;
  const pool = await openPool(name, textField(parameters, "dsn"), max);
  return {
    async run(operations) {
      let rows = 0;
      let violations = 0;
      let wrong = 0;
      const select = async (index: number): Promise<void> => {
        const id = itemOf(index);
        const result = await pool.query("bench_select", SELECT, [id]);
        if (result.rows.length === 1 && isItem(result.rows[0], id)) rows++;
        else wrong++;
      };
      const violate = async (index: number): Promise<void> => {
        try {
          await pool.query("bench_insert", INSERT, [itemOf(index), "twice", 0]);
          wrong++;
        } catch (error) {
          if (sqlState(error) === UNIQUE_VIOLATION) violations++;
          else throw error;
        }
      };
      await runConcurrently(operations, concurrency, (index) =>
        mix && violates(index) ? violate(index) : select(index),
      );
      return { rows, violations, wrong };
    },
    async close() {
      await pool.close();
    },
  };
}

/** PostgreSQL's code of an error, or of what caused it. */
function sqlState(error: unknown): unknown {
  return field(error, "code") === UNIQUE_VIOLATION ? UNIQUE_VIOLATION : field(error, "cause", "code");
}

/** Pools of `max` connections that keep all of them between rounds. A named statement is parsed once a connection. */
async function openPool(name: string, dsn: string, max: number): Promise<PoolUnderTest> {
  switch (name) {
    case "@vg/pool-db":
    case "@vg/pool-db (named statements)": {
      const { openDbPool } = await import("@vg/pool-db");
      const pool = await openDbPool({ dsn, maxOpenConns: max, maxIdleConns: max });
      return {
        query:
          name === "@vg/pool-db"
            ? (_statement, sql, values) => pool.query(sql, values)
            : (statement, text, values) => pool.query({ name: statement, text, values }),
        close: () => pool.close(),
      };
    }
    case "pg.Pool":
    case "pg.Pool (named statements)": {
      const { Pool } = await import("pg");
      const pool = new Pool({ connectionString: dsn, max, idleTimeoutMillis: 0 });
      return {
        query:
          name === "pg.Pool"
            ? (_statement, sql, values) => pool.query(sql, values)
            : (statement, text, values) => pool.query({ name: statement, text, values }),
        close: () => pool.end(),
      };
    }
    default:
      throw new Error(`no pool ${name}`);
  }
}
