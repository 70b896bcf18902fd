/** `client.query` of the clients that `connect()` lends: pg's own, but for what a wire can run. */
import type pg from "pg";
import { activityOf } from "../protocol/pg-client.ts";
import { serialise } from "../protocol/values.ts";
import { leadToCaller } from "./lead-to-caller.ts";
import { isUnderstood, type QueryConfig } from "./query-call.ts";
import type { PlainCall } from "./plain-call.ts";
import { runnerOf } from "./statement-runner.ts";
import { inheritedQuery, isPgsOwnQuery } from "./watched-query.ts";

type Callback = (error: unknown, result?: unknown) => void;
type Query = (this: pg.ClientBase, input: unknown, values?: unknown, callback?: unknown) => unknown;

/**
 * Lets the client's own `query` run plain statements by its wire, for who borrows it through an ORM: prepared by
 * themselves, with pg's results and errors. All else, and all of it when somebody watches pg's method, stays pg's.
 */
export function runPlainQueriesByWire(client: pg.Client): void {
  if (runnerOf(client) === undefined || !isPgsOwnQuery(inheritedQuery(client))) return;
  const query: Query = (input, values, callback) => {
    // Asked each time: who watches may have come later.
    const inherited = inheritedQuery(client) as Query;
    const given =
      isPgsOwnQuery(inherited) && activityOf(client) === "ready" ? readCall(input, values, callback) : undefined;
    const answer = given === undefined ? PG : runByWire(client, given);
    return answer === PG ? inherited.call(client, input, values, callback) : answer;
  };
  Object.defineProperty(client, "query", { configurable: true, enumerable: false, writable: true, value: query });
}

interface GivenCall {
  readonly config: QueryConfig;
  readonly values: readonly unknown[];
  readonly callback: Callback | undefined;
}

/** `undefined` for every form of a call that is not understood: what is wrong with it, pg says. */
function readCall(input: unknown, second: unknown, third: unknown): GivenCall | undefined {
  const callback = typeof second === "function" ? second : third;
  if (callback !== undefined && typeof callback !== "function") return undefined;
  let config: QueryConfig;
  if (typeof input === "string") config = { text: input };
  else if (typeof input === "object" && input !== null && isUnderstood(input as QueryConfig))
    config = input as QueryConfig;
  else return undefined;
  if (config.query_timeout !== undefined) return undefined;
  const values = typeof second === "function" || second === undefined || second === null ? config.values : second;
  if (values !== undefined && !Array.isArray(values)) return undefined;
  return { config, values: values ?? [], callback: callback as Callback | undefined };
}

/** It is pg's to run. */
const PG = Symbol("pg");

/** A promise, or nothing where there is a callback. */
function runByWire(
  client: pg.Client,
  { config, values, callback }: GivenCall,
): Promise<unknown> | undefined | typeof PG {
  const runner = runnerOf(client);
  const known = runner?.look(config.text);
  if (runner === undefined || known?.plain !== true) return PG;
  const run = (answer: Callback): void => {
    let call: PlainCall;
    try {
      call = {
        text: config.text,
        name: config.name,
        asArray: config.rowMode === "array",
        types: config.types,
        prepare: true,
        values: serialise(values),
      };
    } catch (error) {
      process.nextTick(answer, error);
      return;
    }
    runner.run(call, known, false, answer);
  };
  if (callback !== undefined) {
    run((error, result) => tellCallback(callback, error, result));
    return undefined;
  }
  return leading(
    new Promise((resolve, reject) => {
      run((error, result) => (error === undefined ? resolve(result) : reject(error as Error)));
    }),
  );
}

async function leading<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    leadToCaller(error);
    throw error;
  }
}

/** As pg does it: what the callback throws is an uncaught error, and harms nobody else's query. */
function tellCallback(callback: Callback, error: unknown, result: unknown): void {
  try {
    if (error === undefined) callback(null, result);
    else callback(error);
  } catch (thrown) {
    process.nextTick(() => {
      throw thrown;
    });
  }
}
