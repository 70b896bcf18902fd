/**
 * Runs plain statements on one connection by its wire: prepared where that pays, and again where what was prepared has
 * become useless.
 */
import type pg from "pg";
import { Exchange, type ExchangeOutcome, type StatementResult, type WireStatement } from "../protocol/exchange.ts";
import {
  activityOf,
  parsedByPg,
  processIdOf,
  transactionStatusOf,
  type ActiveQuery,
  type StandIn,
} from "../protocol/pg-client.ts";
import { attachWire, type Wire, wireOf } from "../protocol/wire.ts";
import { both, type Changes } from "./changes.ts";
import type { StatementKind } from "./classify.ts";
import type { PlainCall } from "./plain-call.ts";
import { PreparedStatements, type Prepared } from "./prepared-statements.ts";
import { sqlStateOf } from "./sql-state.ts";
import type { KnownStatement } from "./statement-book.ts";
import type { Statements } from "./statements.ts";

/** `failedAt`: which statement failed, counted from 0. */
type AnswerAll = (error: unknown, results: readonly StatementResult[], failedAt: number) => void;

const runners = new WeakMap<pg.ClientBase, StatementRunner>();

/** Gives a connection that is ready its runner, where it has a wire. */
export function attachRunner(client: pg.Client, statements: Statements): void {
  attachWire(client);
  const wire = wireOf(client);
  if (wire !== undefined) runners.set(client, new StatementRunner(client, wire, statements));
}

/**
 * The runner of a connection that can take a plain statement now; `undefined` where pg's own client has to. `shared`: it may
 * stand behind others that share the connection.
 */
export function runnerOf(client: pg.ClientBase, shared = false): StatementRunner | undefined {
  const runner = runners.get(client);
  return runner?.canTake(shared) === true ? runner : undefined;
}

/** The connection is closed: whether what it had begun has come to pass, it will not say any more. */
export function runnerEnds(client: pg.ClientBase): void {
  runners.get(client)?.end();
}

/** The server process of the session that answers; through a pooler it is not the one that the login named. */
const PROBE = "SELECT pg_catalog.pg_backend_pid() AS pid";

/** How a statement goes out, and what it is remembered by. */
interface Planned {
  readonly statement: WireStatement;
  readonly prepared: Prepared | undefined;
}

export class StatementRunner {
  readonly #client: pg.Client;
  readonly #wire: Wire;
  readonly #shared: Statements;
  readonly #prepared: PreparedStatements;
  /** The state of the schema that they were prepared for. */
  #schema: number;
  /** What has been changed in the transaction that is open. */
  #changes: Changes = "nothing";

  constructor(client: pg.Client, wire: Wire, shared: Statements) {
    this.#client = client;
    this.#wire = wire;
    this.#shared = shared;
    this.#prepared = new PreparedStatements(client, shared.cacheSize, shared.counts);
    this.#schema = shared.schema;
    wire.afterPg = (active, status) => this.#afterPg(active, status);
  }

  /** Whether a statement may be written now: when nothing is under way, or nothing but what shares the connection. */
  canTake(shared: boolean): boolean {
    return activityOf(this.#client) === "ready" || (shared && this.#wire.underWay > 0);
  }

  /** What is known of a text; counts a use. */
  look(text: string): KnownStatement {
    return this.#shared.book.look(text);
  }

  end(): void {
    if (this.#changes === "schema") this.#shared.schemaChanged();
  }

  /**
   * Runs one plain statement. `shared`: others may be under way on this connection. `standIn`: who is the client's active
   * query meanwhile. Returns the wire, which hears what pg's client tells its active query.
   */
  run(
    call: PlainCall,
    known: KnownStatement,
    shared: boolean,
    answer: (error: unknown, result: StatementResult | undefined) => void,
    standIn?: StandIn,
  ): StandIn {
    this.#run([call], [known], shared, (error, [result]) => answer(error, result), false, standIn);
    return this.#wire;
  }

  /** Runs several as one exchange: one round trip, and outside of a transaction all or nothing. */
  runBatch(calls: readonly PlainCall[], answer: AnswerAll): void {
    const known = calls.map(({ text }) => this.look(text));
    this.#run(calls, known, false, answer, false);
  }

  #run(
    calls: readonly PlainCall[],
    known: readonly KnownStatement[],
    shared: boolean,
    answer: AnswerAll,
    again: boolean,
    standIn?: StandIn,
  ): void {
    this.#keepUpWithSchema();
    this.#prepared.beginExchange();
    const quiet = known.every(isQuiet);
    const changes = quiet ? "nothing" : known.reduce<Changes>((sum, one) => both(sum, one.changes), "nothing");
    const planned: Planned[] = [];
    for (let index = 0; index < calls.length; index++) {
      // Where one of them may change what the names in another one mean, nothing is relied on.
      const plan = this.#plan(
        calls[index] as PlainCall,
        known[index] as KnownStatement,
        planned,
        again || changes !== "nothing",
      );
      if (plan instanceof Error) return this.#refuse(plan, planned, shared, () => answer(plan, [], index), standIn);
      planned.push(plan);
    }
    const statements = planned.map(({ statement }) => statement);
    // Never inside of a failed transaction, where it would fail.
    const probing = this.#shared.shouldAsk(known, calls) && transactionStatusOf(this.#client) !== "E";
    if (probing) statements.unshift(this.#probe());
    const done = (outcome: ExchangeOutcome): void => {
      const { error, status } = outcome;
      if (!quiet) this.#changed(changes, status);
      const results = probing ? this.#readProbe(outcome) : outcome.results;
      if (error === undefined) return answer(undefined, results, -1);
      const failedAt = probing && outcome.failedAt !== -1 ? outcome.failedAt - 1 : outcome.failedAt;
      const askedInVain = probing && outcome.failedAt === 0;
      const useless = this.#forget(outcome, failedAt, planned) || askedInVain;
      // Outside of a transaction nothing of a failed exchange has happened, unless it holds something that is more than its
      // answer. Inside of one, the transaction has failed.
      const repeatable = status === "I" && known.slice(0, Math.max(0, failedAt)).every(({ shareable }) => shareable);
      if (useless && repeatable && !again && this.canTake(shared)) {
        return this.#run(calls, known, shared, answer, true, standIn);
      }
      answer(error, results, failedAt);
    };
    this.#wire.run(new Exchange(statements, this.#prepared.takeCloses(), shared, done), standIn);
  }

  /** pg's own client has run something, or has failed to. */
  #afterPg(active: ActiveQuery | undefined, status: string): void {
    if (active === undefined) return this.#changed("nothing", status);
    const { text } = active;
    // What does not say what it is may be anything.
    if (typeof text !== "string") return this.#changed("session", status);
    const kind = this.#shared.book.kindOf(text);
    if (!isQuiet(kind)) this.#changed(kind.changes, status);
  }

  /**
   * Something other than a plain statement has been answered. What it has changed holds at once for its own session, and for
   * all others when the transaction has ended; until then, any ROLLBACK may take it back again.
   */
  #changed(changes: Changes, status: string | undefined): void {
    if (changes === "nothing" && this.#changes === "nothing") return;
    this.#changes = both(this.#changes, changes);
    this.#prepared.outdate();
    if (status !== "I") return;
    if (this.#changes === "schema") this.#shared.schemaChanged();
    this.#changes = "nothing";
  }

  #keepUpWithSchema(): void {
    const { schema } = this.#shared;
    if (schema === this.#schema) return;
    this.#schema = schema;
    this.#prepared.outdate();
  }

  /** Nothing of it is sent, but it is answered in its turn. */
  #refuse(
    error: Error,
    planned: readonly Planned[],
    shared: boolean,
    done: () => void,
    standIn: StandIn | undefined,
  ): void {
    for (const { prepared, statement } of planned) {
      if (statement.parse && prepared !== undefined) this.#prepared.drop(prepared, false);
    }
    const exchange = new Exchange([], this.#prepared.takeCloses(), shared, done);
    exchange.fail(error);
    this.#wire.run(exchange, standIn);
  }

  /** The second attempt relies on nothing that the server may have lost, or somebody may have taken. */
  #plan(call: PlainCall, known: KnownStatement, before: readonly Planned[], again: boolean): Planned | Error {
    const { text } = call;
    // Where sessions change, a name means nothing: the next session does not have it, or has another's.
    const name = this.#shared.pooler === true ? undefined : call.name;
    if (name !== undefined) {
      const parsed = parsedByPg(this.#client, name);
      if (parsed !== undefined && parsed !== text) {
        return new Error(`Prepared statements must be unique - '${name}' was used for a different statement`);
      }
    }
    const bySelf = call.prepare && !again && this.#shared.pooler !== undefined && this.#shared.isHot(known);
    if (name === undefined && !bySelf) return { statement: unnamed(call, this.#client), prepared: undefined };
    const ready = this.#prepared.find(known, name);
    if (ready !== undefined) return { statement: this.#named(call, ready, false), prepared: ready };
    const sameExchange = before.find(({ prepared }) => prepared?.text === text && prepared.given === name)?.prepared;
    if (sameExchange !== undefined)
      return { statement: this.#named(call, sameExchange, false), prepared: sameExchange };
    const added = this.#prepared.add(known, name);
    if (added === undefined) return { statement: unnamed(call, this.#client), prepared: undefined };
    return { statement: this.#named(call, added, true), prepared: added };
  }

  #named({ text, values, asArray, types }: PlainCall, prepared: Prepared, parse: boolean): WireStatement {
    return {
      text,
      name: prepared.name,
      parse,
      values,
      columns: prepared.columns,
      asArray,
      types: types ?? this.#client,
      onParsed: parse ? () => this.#prepared.parsed(prepared) : undefined,
      onColumns:
        prepared.columns === undefined
          ? (columns) => {
              prepared.columns = columns;
            }
          : undefined,
    };
  }

  /**
   * After a failure: what was not parsed is forgotten, and what the server does not know, or will not run any more, too.
   * Returns whether the failure was of that kind, so that another attempt may succeed.
   */
  #forget({ error, bound }: ExchangeOutcome, failedAt: number, planned: readonly Planned[]): boolean {
    const failed = planned[failedAt];
    const state = failed?.prepared === undefined ? undefined : sqlStateOf(error);
    const { routine } = error as { routine?: unknown };
    const unknown = state === "26000";
    const collided = state === "42P05";
    const stale =
      (state === "0A000" && routine === "RevalidateCachedQuery") ||
      (state !== undefined && failed?.statement.parse === false && !bound && isOfTypes(state));
    for (const { prepared, statement } of planned) {
      if (prepared === undefined) continue;
      if (stale) this.#prepared.drop(prepared, true);
      else if (!prepared.parsed && statement.parse) this.#prepared.drop(prepared, false);
    }
    if (unknown) this.#prepared.clear(this.#shared.pooler !== true);
    return unknown || stale || collided;
  }

  // ---- Whether there is a pooler ---------------------------------------------------------------------------------------

  #probe(): WireStatement {
    const call = { text: PROBE, values: [], name: undefined, asArray: true, types: undefined, prepare: false };
    return unnamed(call, this.#client);
  }

  /** The results of the others. A server that cannot say which session it is gets the careful treatment. */
  #readProbe({ results: [probe, ...results], failedAt }: ExchangeOutcome): readonly StatementResult[] {
    const [row] = probe?.rows ?? [];
    if (Array.isArray(row)) this.#shared.foundSession(Number(row[0]) === processIdOf(this.#client));
    else if (failedAt === 0) this.#shared.foundSession(false);
    return results;
  }
}

function isQuiet({ plain, changes }: StatementKind): boolean {
  return plain && changes === "nothing";
}

/**
 * Whether a statement that was prepared earlier may have failed before its execution because its parameters have another
 * type now, for which the types that it was prepared with are wrong: after a migration from int to bigint for example. Often
 * it is just a bad value, and then the second attempt says the same.
 */
function isOfTypes(state: string): boolean {
  return (state.startsWith("22") || state.startsWith("42")) && state !== "42501" && state !== "42P05";
}

function unnamed({ text, values, asArray, types }: PlainCall, client: pg.Client): WireStatement {
  return { text, name: "", parse: true, values, columns: undefined, asArray, types: types ?? client };
}
