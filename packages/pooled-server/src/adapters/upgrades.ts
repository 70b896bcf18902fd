import { ServerResponse, type IncomingMessage, type Server } from "node:http";
import type { Duplex } from "node:stream";
import type { Logger } from "@vg/logging";
import { NodeRequestContext, runInRequest } from "../request/request-context.ts";
import type { UpgradeListener } from "./adapter.ts";

interface Surroundings {
  readonly logger: Logger;
  readonly clock: { now(): number };
  readonly refusing: () => boolean;
}

/**
 * Hands upgrades to whoever takes them. node:http forgets a socket that it has handed over, so it is this class that
 * can cut it at the end; else an open WebSocket would hold the server open for ever.
 */
export class Upgrades {
  readonly #server: Server;
  readonly #logger: Logger;
  readonly #clock: { now(): number };
  readonly #refusing: () => boolean;
  readonly #listeners = new Set<UpgradeListener>();
  readonly #open = new Map<Duplex, NodeRequestContext>();

  constructor(server: Server, { logger, clock, refusing }: Surroundings) {
    this.#server = server;
    this.#logger = logger;
    this.#clock = clock;
    this.#refusing = refusing;
  }

  add(listener: UpgradeListener): void {
    // With this listener, node:http no longer handles upgrades as the requests that they also are.
    if (this.#listeners.size === 0) this.#server.on("upgrade", (...upgrade) => this.#handle(...upgrade));
    this.#listeners.add(listener);
  }

  /** Tells those who have a socket that it will be cut. */
  drain(reason: Error): void {
    for (const context of this.#open.values()) context.drain(reason);
  }

  /** Cuts the sockets that are still open. */
  cut(): void {
    for (const socket of this.#open.keys()) socket.destroy();
  }

  #handle(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    // Until a listener has its own: a client that resets its connection is no error of ours.
    socket.on("error", () => undefined);
    if (this.#refusing()) return refuse(socket, "503 Service Unavailable", "retry-after: 1\r\n");
    // The answer is never given this way.
    const response = new ServerResponse(request);
    const context = new NodeRequestContext(request, response, this.#logger, this.#clock.now());
    this.#open.set(socket, context);
    socket.once("close", () => {
      this.#open.delete(socket);
      context.abort(new Error("The connection is closed"));
    });
    for (const listener of this.#listeners) {
      try {
        runInRequest(context, () => listener(request, socket, head));
      } catch (error) {
        context.logger.error("The listener of an upgrade failed", error);
        return refuse(socket, "500 Internal Server Error");
      }
    }
  }
}

function refuse(socket: Duplex, status: string, headers: string = ""): void {
  if (socket.destroyed) return;
  socket.end(`HTTP/1.1 ${status}\r\n${headers}connection: close\r\ncontent-length: 0\r\n\r\n`, () => socket.destroy());
}
