import type { Answer, Contender, Parameters } from "../harness/contender.ts";
import { field, numberField, textField } from "../harness/values.ts";
import { runConcurrently } from "./concurrency.ts";
import { openDatabaseClient, type DatabaseClient } from "./database-clients.ts";
import {
  CLEAR_ORDERS,
  COUNT_ORDERS,
  INSERT_ORDER,
  INSERT_TAKEN,
  isItem,
  itemOf,
  orderOf,
  pageOf,
  PAGE,
  rightEvents,
  SELECT_ITEM,
  SELECT_PAGE,
  UNIQUE_VIOLATION,
  violates,
  type Event,
  type Item,
  type Work,
} from "./pool-db-workload.ts";

/** What came of a round's queries. */
interface Tally {
  rows: number;
  violations: number;
  wrong: number;
}

export async function createContender(name: string, parameters: Parameters): Promise<Contender> {
  const dsn = textField(parameters, "dsn");
  const callers = numberField(parameters, "callers");
  const work = textField(parameters, "work") as Work;
  const client = await openDatabaseClient(name, dsn, numberField(parameters, "connections"));
  return {
    async run(operations) {
      const tally: Tally = { rows: 0, violations: 0, wrong: 0 };
      await runConcurrently(operations, callers, taskOf(work, client, tally));
      return { ...tally };
    },
    ...(work === "insert" && (await ordersOf(dsn))),
    async close() {
      await client.close();
    },
  };
}

function taskOf(work: Work, client: DatabaseClient, tally: Tally): (index: number) => Promise<void> {
  const selectItem = async (index: number): Promise<void> => {
    const id = itemOf(index);
    const result = await client.query(SELECT_ITEM, [id]);
    if (isItem(client.rows<Item>(result), id)) tally.rows++;
    else tally.wrong++;
  };
  const violate = async (index: number): Promise<void> => {
    try {
      await client.query(INSERT_TAKEN, [itemOf(index), "twice", 0]);
      tally.wrong++;
    } catch (error) {
      if (sqlState(error) === UNIQUE_VIOLATION) tally.violations++;
      else throw error;
    }
  };
  const selectPage = async (index: number): Promise<void> => {
    const page = pageOf(index);
    const right = rightEvents(client.rows<Event>(await client.query(SELECT_PAGE, [page])), page);
    tally.rows += right;
    tally.wrong += PAGE - right;
  };
  const insert = async (index: number): Promise<void> => {
    const count = client.count(await client.query(INSERT_ORDER, orderOf(index)));
    if (count === 1) tally.rows++;
    else tally.wrong++;
  };
  const tasks: Record<Work, (index: number) => Promise<void>> = {
    "point select": selectItem,
    "100 rows": selectPage,
    insert,
    "1 % violations": (index) => (violates(index) ? violate(index) : selectItem(index)),
  };
  return tasks[work];
}

/** Empties the table before each round and counts what is in it after it, over a connection that is nobody's subject. */
async function ordersOf(dsn: string): Promise<Pick<Contender, "prepare" | "after">> {
  const { Client } = await import("pg");
  const client = new Client(dsn);
  await client.connect();
  return {
    async prepare() {
      await client.query(CLEAR_ORDERS);
    },
    async after() {
      const { rows } = await client.query<Answer>(COUNT_ORDERS);
      return rows[0]!;
    },
  };
}

/** PostgreSQL's code of an error, or of what caused it. */
function sqlState(error: unknown): unknown {
  return field(error, "code") === UNIQUE_VIOLATION ? UNIQUE_VIOLATION : field(error, "cause", "code");
}
