import type { EventEmitter } from "node:events";
import { Bag } from "@vg/internal";

/** An exchange of a connection, when that is lost. */
interface OfConnection {
  connectionLost(): void;
}

const OPEN: unique symbol = Symbol.for("@vg/logging.access-log.open.1");

/** Mostly there is one exchange at a time, for which a set would be more than it takes. */
interface Open {
  first: OfConnection | undefined;
  /** What came while there was a first one, in its order. */
  others: Set<OfConnection> | undefined;
}

interface Connection extends EventEmitter {
  [OPEN]?: Open;
}

/**
 * What is under way on each connection. A response that waits behind another in a pipeline has no connection yet, and
 * so no event tells it that this is gone; one listener a connection does.
 *
 * When the process ends, what is under way is logged as well: it is what one wants to know of a crash.
 */
const connections = new Set<Open>();
/** One whose end somebody else tells. */
interface Followed extends OfConnection {
  /** For the bag of them: `NOT_BAGGED` at first. */
  bagIndex: number;
}

/** Those whose end somebody else tells, whatever their connection does; only the end of the process is looked for. */
const followed = new Bag<Followed>();
let watchesExit = false;

export function openOn(connection: Connection, exchange: OfConnection): void {
  let open = connection[OPEN];
  if (open === undefined) {
    connection[OPEN] = open = { first: undefined, others: undefined };
    connections.add(open);
    connection.on("close", onConnectionClose);
    watchExit();
  }
  if (open.first === undefined && (open.others === undefined || open.others.size === 0)) open.first = exchange;
  else (open.others ??= new Set()).add(exchange);
}

export function doneOn(connection: Connection, exchange: OfConnection): void {
  const open = connection[OPEN];
  if (open?.first === exchange) open.first = undefined;
  else open?.others?.delete(exchange);
}

export function openUntilTold(exchange: Followed): void {
  watchExit();
  followed.add(exchange);
}

export function told(exchange: Followed): void {
  followed.delete(exchange);
}

function watchExit(): void {
  if (watchesExit) return;
  watchesExit = true;
  // Before the loggers' own listeners, which flush.
  process.prependListener("exit", onExit);
}

function onConnectionClose(this: Connection): void {
  const open = this[OPEN];
  if (open === undefined) return;
  connections.delete(open);
  loseAll(open);
}

function onExit(): void {
  for (const open of connections) loseAll(open);
  for (const exchange of followed) exchange.connectionLost();
}

/** Each takes itself out. */
function loseAll({ first, others }: Open): void {
  first?.connectionLost();
  if (others !== undefined) for (const exchange of others) exchange.connectionLost();
}
