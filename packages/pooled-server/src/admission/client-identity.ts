import { hash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { ClientAddresses, type ForwardedHeader } from "@vg/logging/access-log";

const ADDRESS_CLIENT: unique symbol = Symbol("vg.pooled-server.address-client");

interface NamedSocket extends Socket {
  [ADDRESS_CLIENT]?: string;
}

/** Tells clients apart: by their credential, else by the address they come from. */
export class ClientIdentity {
  readonly #addresses: ClientAddresses;
  readonly #believesNobody: boolean;
  readonly #header: ForwardedHeader;

  /**
   * @param trustedProxies addresses or CIDR ranges whose `header` is believed
   * @param fail makes the error to throw where one of them is neither, of a text that says so
   */
  constructor(trustedProxies: readonly string[], header: ForwardedHeader, fail: (problem: string) => Error) {
    this.#believesNobody = trustedProxies.length === 0;
    this.#addresses = new ClientAddresses(trustedProxies, header, fail);
    this.#header = header;
  }

  of(request: IncomingMessage): string {
    // An empty one is none.
    const credential = request.headers.authorization || request.headers["x-api-key"];
    return this.named(typeof credential === "string" && credential !== "" ? credential : undefined, request);
  }

  /** The client of that name; without one, the client at the request's address. */
  named(name: string | undefined, request: IncomingMessage): string {
    if (name === undefined) return this.#byAddress(request);
    // Hashed, so that no credential lies in a table that somebody may dump.
    return `key:${hash("sha256", name, "base64url")}`;
  }

  /** Where nobody speaks for others, a connection has one; made anew for each request, it would be looked up letter by letter. */
  #byAddress(request: IncomingMessage): string {
    const socket = request.socket as NamedSocket;
    const known = this.#believesNobody ? socket[ADDRESS_CLIENT] : undefined;
    if (known !== undefined) return known;
    return (socket[ADDRESS_CLIENT] = `addr:${networkOf(this.addressOf(request))}`);
  }

  /** Whether it is known by its address alone, and says that it was forwarded, by somebody who is not believed. */
  isForwardedUnbelieved(request: IncomingMessage): boolean {
    const { headers, socket } = request;
    if (headers[this.#header] === undefined || !this.of(request).startsWith("addr:")) return false;
    return this.addressOf(request) === this.#addresses.of(socket.remoteAddress, {});
  }

  /** The client's address: the socket's, or the last one in the header that no trusted proxy has. */
  addressOf(request: IncomingMessage): string {
    return this.#addresses.of(request.socket.remoteAddress, request.headers) ?? "";
  }
}

/** One customer of a provider has a /64 of IPv6 addresses at least: they are one client. */
function networkOf(address: string): string {
  if (!address.includes(":")) return address;
  const [head = "", tail] = address.split("%", 1)[0]?.split("::") ?? [];
  const groups = head === "" ? [] : head.split(":");
  const missing = tail === undefined ? 0 : 8 - groups.length - (tail === "" ? 0 : tail.split(":").length);
  const whole = [...groups, ...Array.from({ length: missing }, () => "0"), ...(tail ?? "").split(":")];
  return `${whole
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ""))
    .join(":")}::/64`;
}
