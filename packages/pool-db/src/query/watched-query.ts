import type pg from "pg";
import type { StandIn } from "../protocol/pg-client.ts";

/**
 * Whether `client.query` is pg's own and nobody watches it. Tracing libraries (OpenTelemetry, APM agents) put a function of
 * theirs in its place, on the prototype, and a user's class may override it: then what we run must pass through there.
 */
export function isPgsOwnQuery(query: unknown): boolean {
  if (typeof query !== "function") return false;
  let own = verdicts.get(query);
  if (own === undefined) {
    own = Function.prototype.toString.call(query).includes("new Query(");
    verdicts.set(query, own);
  }
  return own;
}

const verdicts = new WeakMap<object, boolean>();

/** The query method that a client has of its class. */
export function inheritedQuery(client: pg.ClientBase): unknown {
  return (Object.getPrototypeOf(client) as { query?: unknown }).query;
}

type Callback = (error: unknown, result?: unknown) => void;

/**
 * One of our statements in the form of pg's submittables, for `client.query`: whoever watches that method finds the text,
 * the name and the values, and a callback to put his own around.
 */
export class WatchedQuery implements StandIn {
  readonly text: string;
  readonly name: string | undefined;
  readonly values: readonly unknown[];
  /** Called once, with the end of it. */
  callback: Callback;
  readonly #start: (self: WatchedQuery) => StandIn;
  #standIn: StandIn | undefined;

  /** `start` begins the statement when the client is free for it, and returns who answers for it from then on. */
  constructor(
    { text, name, values }: { text: string; name: string | undefined; values: readonly unknown[] },
    callback: Callback,
    start: (self: WatchedQuery) => StandIn,
  ) {
    this.text = text;
    this.name = name;
    this.values = values;
    this.callback = callback;
    this.#start = start;
  }

  submit(): void {
    this.#standIn = this.#start(this);
  }

  handleError(error: Error): void {
    if (this.#standIn === undefined) this.callback(error);
    else this.#standIn.handleError(error);
  }

  handleReadyForQuery(): void {
    this.#standIn?.handleReadyForQuery();
  }

  handleCopyInResponse(): void {
    this.#standIn?.handleCopyInResponse();
  }

  handleCopyData(): void {
    this.#standIn?.handleCopyData();
  }
}
