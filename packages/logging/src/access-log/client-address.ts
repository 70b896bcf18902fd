import { BlockList, isIP } from "node:net";

export type ForwardedHeader = "x-forwarded-for" | "forwarded";

/** `for=` of one element of RFC 7239's `Forwarded`; the port of an address is left out. */
const FOR = /(?:^|;)\s*for\s*=\s*(?:"\[([^\]"]*)\](?::\d+)?"|"?([^";:,\s]+)(?::\d+)?"?)/;

/** An address with brackets or a port, which some proxies put into `X-Forwarded-For`, too. */
const WITH_PORT = /^(?:\[([^\]]+)\]|(\d{1,3}(?:\.\d{1,3}){3}))(?::\d{1,5})?$/;

/**
 * Where a request comes from, with no more trust in what it says of itself than was configured: the address of its peer;
 * where that is a trusted proxy, the last one in the header that no trusted proxy has.
 */
export class ClientAddresses {
  readonly #proxies = new BlockList();
  readonly #believesNobody: boolean;
  readonly #header: ForwardedHeader;

  /**
   * @param trustedProxies addresses or CIDR ranges of proxies whose `header` is believed
   * @param fail makes the error to throw where one of them is neither, of a text that says so
   */
  constructor(trustedProxies: readonly string[], header: ForwardedHeader, fail: (problem: string) => Error) {
    this.#header = header;
    this.#believesNobody = trustedProxies.length === 0;
    for (const proxy of trustedProxies) {
      const [address = "", prefix, ...more] = proxy.split("/");
      const version = isIP(address);
      const widest = version === 6 ? 128 : 32;
      const bits = prefix === undefined ? widest : /^\d{1,3}$/.test(prefix) ? Number(prefix) : Infinity;
      if (version === 0 || bits > widest || more.length > 0) {
        throw fail(
          `trustedProxies has ${JSON.stringify(proxy.slice(0, 64))}, which is neither an IP address nor a ` +
            `CIDR range such as "10.0.0.0/8".`,
        );
      }
      this.#proxies.addSubnet(address, bits, version === 6 ? "ipv6" : "ipv4");
    }
  }

  /**
   * @param peer the socket's `remoteAddress`; `undefined` where it has none
   * @param headers the request's, by lower-case names
   */
  of(peer: string | undefined, headers: Readonly<Record<string, string | string[] | undefined>>): string | undefined {
    if (peer === undefined) return undefined;
    let address = plainAddress(peer);
    if (this.#believesNobody || !this.#isProxy(address)) return address;
    const elements = String(headers[this.#header] ?? "").split(",");
    while (elements.length > 0 && this.#isProxy(address)) {
      const next = this.#parse(elements.pop() as string);
      if (isIP(next) === 0) break;
      address = next;
    }
    return address;
  }

  #parse(element: string): string {
    const text = element.trim().toLowerCase();
    if (this.#header === "x-forwarded-for") {
      const parts = WITH_PORT.exec(text);
      return plainAddress(parts?.[1] ?? parts?.[2] ?? text);
    }
    const found = FOR.exec(text);
    return plainAddress(found?.[1] ?? found?.[2] ?? "");
  }

  #isProxy(address: string): boolean {
    const version = isIP(address);
    return version !== 0 && this.#proxies.check(address, version === 6 ? "ipv6" : "ipv4");
  }
}

/** IPv4 comes in as ::ffff:a.b.c.d where the server listens on both families. */
function plainAddress(address: string): string {
  return address.startsWith("::ffff:") ? address.slice(7) : address;
}
