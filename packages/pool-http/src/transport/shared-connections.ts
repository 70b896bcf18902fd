/** HTTP/2: each host's list of the connections that carry requests and have room for more. */
import type { Connection } from "./connection.ts";

/** Puts it into the list, or takes it out, as it now is. */
export function keepShared(connection: Connection): void {
  const { streams, capacity, draining } = connection;
  const belongs = streams > 0 && streams < capacity && !draining;
  if (!belongs) dropShared(connection);
  else if (!connection.isShared) {
    connection.isShared = true;
    connection.host.shared.push(connection);
  }
}

export function dropShared(connection: Connection): void {
  if (!connection.isShared) return;
  connection.isShared = false;
  const { shared } = connection.host;
  shared.splice(shared.indexOf(connection), 1);
}
