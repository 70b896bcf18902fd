import { hash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { ClientAddresses, type ForwardedHeader } from "@vg/logging/access-log";

/** Tells clients apart: by their credential, else by the address they come from. */
export class ClientIdentity {
  readonly #addresses: ClientAddresses;

  /**
   * @param trustedProxies addresses or CIDR ranges whose `header` is believed
   * @param fail makes the error to throw where one of them is neither, of a text that says so
   */
  constructor(trustedProxies: readonly string[], header: ForwardedHeader, fail: (problem: string) => Error) {
    this.#addresses = new ClientAddresses(trustedProxies, header, fail);
  }

  of(request: IncomingMessage): string {
    const credential = request.headers.authorization ?? request.headers["x-api-key"];
    return this.named(typeof credential === "string" && credential !== "" ? credential : undefined, request);
  }

  /** The client of that name; without one, the client at the request's address. */
  named(name: string | undefined, request: IncomingMessage): string {
    if (name === undefined) return `addr:${networkOf(this.addressOf(request))}`;
    // Hashed, so that no credential lies in a table that somebody may dump.
    return `key:${hash("sha256", name, "base64url")}`;
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
