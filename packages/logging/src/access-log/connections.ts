import type { EventEmitter } from "node:events";

/** An exchange of a connection, when that is lost. */
interface OfConnection {
  connectionLost(): void;
}

const OPEN: unique symbol = Symbol.for("@vg/logging.access-log.open");

interface Connection extends EventEmitter {
  [OPEN]?: Set<OfConnection>;
}

/**
 * What is under way on each connection. A response that waits behind another in a pipeline has no connection yet, and
 * so no event tells it that this is gone; one listener a connection does.
 *
 * When the process ends, what is under way is logged as well: it is what one wants to know of a crash.
 */
const connections = new Set<Set<OfConnection>>();
let watchesExit = false;

export function openOn(connection: Connection, exchange: OfConnection): void {
  let open = connection[OPEN];
  if (open === undefined) {
    connection[OPEN] = open = new Set();
    connections.add(open);
    connection.on("close", onConnectionClose);
    if (!watchesExit) {
      watchesExit = true;
      // Before the loggers' own listeners, which flush.
      process.prependListener("exit", onExit);
    }
  }
  open.add(exchange);
}

export function doneOn(connection: Connection, exchange: OfConnection): void {
  connection[OPEN]?.delete(exchange);
}

function onConnectionClose(this: Connection): void {
  const open = this[OPEN];
  if (open === undefined) return;
  connections.delete(open);
  for (const exchange of open) exchange.connectionLost();
}

function onExit(): void {
  for (const open of connections) for (const exchange of open) exchange.connectionLost();
}
