import { errors, type Dispatcher } from "undici";
import type { ConnectionWatcher } from "../transport/connection-watcher.ts";

const EVENTS = new Set<string | symbol>(["connect", "disconnect", "connectionError"]);

/**
 * Makes a dispatcher tell of the pool's connections, of all its origins, in undici's events, from the first listener for
 * one of them on. Returns what ends it.
 */
export function emitConnectionEvents(dispatcher: Dispatcher, watchers: Set<ConnectionWatcher>): () => void {
  const emit = (event: "connect" | "disconnect" | "connectionError", origin: string, error?: Error): void => {
    // A listener that throws is an uncaught error, as anywhere, and not the end of a connection.
    queueMicrotask(() => dispatcher.emit(event as "disconnect", new URL(origin), [dispatcher], error as never));
  };
  const watcher: ConnectionWatcher = {
    connected: (origin) => emit("connect", origin),
    closed: (origin) => emit("disconnect", origin, new errors.SocketError("closed")),
    failed: (origin, { cause, detail }) =>
      emit("connectionError", origin, cause instanceof Error ? cause : new errors.SocketError(detail)),
  };
  (dispatcher as NodeJS.EventEmitter).on("newListener", (event: string | symbol) => {
    if (EVENTS.has(event)) watchers.add(watcher);
  });
  return () => void watchers.delete(watcher);
}
