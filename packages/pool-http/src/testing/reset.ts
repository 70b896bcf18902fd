import type { Socket } from "node:net";

/**
 * Ends a connection with a TCP reset. One that has said its end, itself or by the TLS over it, can't be reset any more,
 * and is closed.
 */
export function resetConnection(raw: Socket, socket: Socket = raw): void {
  // Node lets go of a handle that refuses to be reset: it would stay open for good, and "close" never come.
  if (raw.writableEnded || socket.writableEnded) raw.destroy();
  else raw.resetAndDestroy();
}
