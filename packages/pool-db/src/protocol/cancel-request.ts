import { connect } from "node:net";
import type pg from "pg";
import { cancelKeyOf } from "./pg-client.ts";

const CANCEL_REQUEST_CODE = 80_877_102;
const TIMEOUT_MS = 2_000;

/**
 * Asks the server to cancel what runs on this client's connection: over a connection of its own, as the protocol has it
 * (PostgreSQL documentation, 54.2.8 "Canceling Requests in Progress"). Call it only for a connection that will not be
 * used again: the request names the connection, not the query, and would hit the next one.
 *
 * Best effort: without it the server runs an abandoned query to its end. Not sent where TLS is in use, because the
 * secret key would cross the network in the clear.
 */
export function sendCancelRequest(client: pg.Client): void {
  const key = cancelKeyOf(client);
  if (key === undefined || client.ssl) return;
  const message = Buffer.alloc(16);
  message.writeInt32BE(16, 0);
  message.writeInt32BE(CANCEL_REQUEST_CODE, 4);
  message.writeInt32BE(key.processId, 8);
  message.writeInt32BE(key.secretKey, 12);
  const { host, port } = client;
  const socket = host.startsWith("/") ? connect(`${host}/.s.PGSQL.${port}`) : connect(port, host);
  socket.setTimeout(TIMEOUT_MS, () => socket.destroy());
  socket.on("error", () => socket.destroy());
  // The server answers by closing.
  socket.resume();
  socket.end(message);
  socket.unref();
}
