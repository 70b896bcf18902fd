import type { IncomingMessage } from "node:http";
import type { Logger } from "@vg/logging";
import type { ClientIdentity } from "./client-identity.ts";

/**
 * Says, once, that clients may be refused for what others do: behind a proxy that the server has not been told of, all who
 * have no credential come from one address, and share one rate.
 */
export class ProxyHint {
  readonly #clients: ClientIdentity;
  readonly #logger: Logger;
  #said = false;

  constructor(clients: ClientIdentity, logger: Logger) {
    this.#clients = clients;
    this.#logger = logger;
  }

  /** A request was refused for its client's rate. */
  refused(request: IncomingMessage): void {
    if (this.#said || !this.#clients.isForwardedUnbelieved(request)) return;
    this.#said = true;
    this.#logger.warn("Clients behind a proxy may share one rate; name the proxy in trustedProxies if it is yours", {
      client_address: this.#clients.addressOf(request),
      setting: "trustedProxies",
    });
  }
}
