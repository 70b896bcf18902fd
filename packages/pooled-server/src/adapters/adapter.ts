import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";

/** What takes an `upgrade` event of node:http: a WebSocket server's `handleUpgrade`, wrapped. It may be async. */
export type UpgradeListener = (request: IncomingMessage, socket: Duplex, head: Buffer) => unknown;

/** What every kind of base server is turned into: the inside of a request, and what comes with it. */
export interface Adapter {
  readonly kind: "node:http" | "Express" | "Fastify" | "fetch";
  /**
   * Lets the base server answer. Called inside the request's context.
   *
   * @returns a promise that rejects with what escaped the base server, where that is not thrown at once. It need not
   *   settle otherwise: the answer's end is the response's.
   */
  handle(request: IncomingMessage, response: ServerResponse): unknown;
  /**
   * The template of the route that the base server chose, asked when the request is over and nobody has set
   * `currentRequest().route`. Never a path.
   */
  routeOf?(request: IncomingMessage): string | undefined;
  /**
   * Loads what must be there before the first request. Called more than once; loads once.
   * @throws BaseServerError
   */
  ready?(): Promise<void>;
  /** Closes what the base server has opened, when the requests have ended. The caller keeps the deadline. */
  close?(): Promise<void>;
  /** Who takes upgrades, once it is ready. */
  upgradeListeners?(): readonly UpgradeListener[];
}
