import type { Socket } from "node:net";
import { LifecycleError, RequestTimeoutError } from "../errors.ts";

/** nginx's code for a client that left before its answer; only in logs and metrics, never on the wire. */
export const CLIENT_CLOSED_REQUEST = 499;

const CLIENT_ERRORS: ReadonlySet<string> = new Set(["ECONNRESET", "EPIPE", "ECONNABORTED", "ETIMEDOUT"]);

/**
 * What log and metrics say of an answer that was not sent to its end: who is to blame for it.
 *
 * @param socket the request's; null where Node.js has taken it off the request already, as it does when that has ended
 * @param abortReason of the request, before its end was noticed
 */
export function statusOfBroken(socket: Socket | null, abortReason: Error | undefined): number {
  if (abortReason instanceof LifecycleError) return 503;
  if (abortReason instanceof RequestTimeoutError) return 504;
  if (socket === null) return CLIENT_CLOSED_REQUEST;
  const code = (socket.errored as NodeJS.ErrnoException | null)?.code ?? "";
  if (socket.readableEnded || CLIENT_ERRORS.has(code)) return CLIENT_CLOSED_REQUEST;
  // What node:http has answered by itself, below the response.
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return 408;
  if (code.startsWith("HPE_")) return 400;
  // Nobody else was there to break off.
  return 500;
}

const WAITING: unique symbol = Symbol("vg.pooled-server.waiting");

interface Connection extends Pick<Socket, "once"> {
  [WAITING]?: Set<() => void>;
}

/**
 * Calls `lost` when the connection is. For the responses that wait behind another one in a pipeline: these have no
 * connection yet, and so no event of their own then.
 *
 * @returns what takes it back
 */
export function onConnectionLost(connection: Connection, lost: () => void): () => void {
  let waiting = connection[WAITING];
  if (waiting === undefined) {
    connection[WAITING] = waiting = new Set();
    connection.once("close", tellWaiting);
  }
  waiting.add(lost);
  return () => waiting.delete(lost);
}

function tellWaiting(this: Connection): void {
  for (const lost of this[WAITING] ?? []) lost();
}
