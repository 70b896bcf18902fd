import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { BlockList, isIP } from "node:net";

/** Tells clients apart: by their credential, else by the address they come from. */
export class ClientIdentity {
  readonly #proxies = new BlockList();

  /** @param trustedProxies addresses or CIDR ranges whose `x-forwarded-for` is believed */
  constructor(trustedProxies: readonly string[]) {
    for (const proxy of trustedProxies) {
      const [address = "", prefix] = proxy.split("/");
      const version = isIP(address);
      const family = version === 6 ? "ipv6" : "ipv4";
      const bits = prefix === undefined ? (version === 6 ? 128 : 32) : Number(prefix);
      if (version === 0) throw new TypeError(`${proxy} is neither an IP address nor a CIDR range`);
      this.#proxies.addSubnet(address, bits, family);
    }
  }

  of(request: IncomingMessage): string {
    const credential = request.headers.authorization ?? request.headers["x-api-key"];
    return this.named(typeof credential === "string" && credential !== "" ? credential : undefined, request);
  }

  /** The client of that name; without one, the client at the request's address. */
  named(name: string | undefined, request: IncomingMessage): string {
    if (name === undefined) return `addr:${networkOf(this.addressOf(request))}`;
    // Hashed, so that no credential lies in a table that somebody may dump.
    return `key:${createHash("sha256").update(name).digest("base64url")}`;
  }

  /** The client's address: the socket's, or the last one in `x-forwarded-for` that no trusted proxy has. */
  addressOf(request: IncomingMessage): string {
    let address = plainAddress(request.socket.remoteAddress ?? "");
    const forwarded = String(request.headers["x-forwarded-for"] ?? "").split(",");
    while (forwarded.length > 0 && this.#isProxy(address)) {
      const next = plainAddress((forwarded.pop() ?? "").trim());
      if (isIP(next) === 0) break;
      address = next;
    }
    return address;
  }

  #isProxy(address: string): boolean {
    const version = isIP(address);
    return version !== 0 && this.#proxies.check(address, version === 6 ? "ipv6" : "ipv4");
  }
}

/** One customer of a provider has a /64 of IPv6 addresses at least: they are one client. */
function networkOf(address: string): string {
  if (isIP(address) !== 6) return address;
  const [head = "", tail] = address.split("%", 1)[0]?.split("::") ?? [];
  const groups = head === "" ? [] : head.split(":");
  const missing = tail === undefined ? 0 : 8 - groups.length - (tail === "" ? 0 : tail.split(":").length);
  const whole = [...groups, ...Array.from({ length: missing }, () => "0"), ...(tail ?? "").split(":")];
  return `${whole
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ""))
    .join(":")}::/64`;
}

/** IPv4 comes in as ::ffff:a.b.c.d where the server listens on both families. */
function plainAddress(address: string): string {
  return address.startsWith("::ffff:") ? address.slice(7) : address;
}
