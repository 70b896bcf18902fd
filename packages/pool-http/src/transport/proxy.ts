/**
 * Which proxy the connections to an origin go through, if any.
 *
 * From the environment by the rules that curl and Go share: `HTTPS_PROXY` and `HTTP_PROXY` by the scheme of the origin,
 * `ALL_PROXY` where that one is not set, lower-case names first, `NO_PROXY` for those that are reached directly.
 * The own machine is never reached through a proxy. In a CGI program `HTTP_PROXY` is a client's header and not a
 * setting, so it is not read there.
 */
import { BlockList, isIP } from "node:net";

export interface Proxy {
  /** Without user and password. */
  readonly url: URL;
  /** For `Proxy-Authorization`. */
  readonly authorization: string | undefined;
}

/** The proxy for an origin; `undefined`: directly. */
export type ProxyRule = (origin: URL) => Proxy | undefined;

export const DIRECTLY: ProxyRule = () => undefined;

/** `undefined` where the text is no proxy's URL. A missing scheme means http. */
export function parseProxy(text: string): Proxy | undefined {
  const url = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:") || url.hostname === "") return undefined;
  const { username, password } = url;
  let authorization: string | undefined;
  if (username !== "" || password !== "") {
    authorization = `Basic ${Buffer.from(`${decode(username)}:${decode(password)}`).toString("base64")}`;
  }
  return { url: new URL(url.origin), authorization };
}

/** `bad` makes the error for a variable that holds no proxy; it is told its name and never its value, a secret. */
export function proxyFromEnvironment(
  env: Readonly<Record<string, string | undefined>>,
  bad: (variable: string) => Error,
): ProxyRule {
  const read = (...names: string[]): Proxy | undefined => {
    const name = names.find((candidate) => (env[candidate] ?? "").trim() !== "");
    if (name === undefined) return undefined;
    const proxy = parseProxy((env[name] as string).trim());
    if (proxy === undefined) throw bad(name);
    return proxy;
  };
  const cgi = (env["REQUEST_METHOD"] ?? "") !== "";
  const plain = read("http_proxy", ...(cgi ? [] : ["HTTP_PROXY"]), "all_proxy", "ALL_PROXY");
  const secure = read("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY");
  if (plain === undefined && secure === undefined) return DIRECTLY;
  const excluded = parseNoProxy(env["no_proxy"] ?? env["NO_PROXY"] ?? "");
  return (origin) => (excluded(origin) ? undefined : origin.protocol === "https:" ? secure : plain);
}

/**
 * `NO_PROXY`: names and addresses, separated by commas or blanks. "example.com" is that host and all below it,
 * ".example.com" and "*.example.com" only those below it; "10.0.0.0/8" and "fd00::/8" are networks; "host:8080" means
 * that port only; "*" is everything.
 */
export function parseNoProxy(text: string): (origin: URL) => boolean {
  const rules = text
    .split(/[\s,]+/)
    .filter((entry) => entry !== "")
    .map((entry) => ruleOf(entry.toLowerCase()));
  return (origin) => {
    // "example.com." is the same host.
    const host = origin.hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "");
    const port = origin.port === "" ? (origin.protocol === "https:" ? "443" : "80") : origin.port;
    if (host === "localhost" || host.endsWith(".localhost") || isLoopback(host)) return true;
    return rules.some((matches) => matches(host, port));
  };
}

type Rule = (host: string, port: string) => boolean;

function ruleOf(entry: string): Rule {
  if (entry === "*") return () => true;
  const network = /^(.+)\/(\d+)$/.exec(entry);
  if (network !== null) return networkRule(network[1] as string, Number(network[2]));
  const { name, port } = splitPort(entry);
  const allowed: Rule = (_host, actual) => port === undefined || port === actual;
  if (isIP(name) !== 0) {
    const list = new BlockList();
    list.addAddress(name, familyOf(name));
    return (host, actual) => allowed(host, actual) && isIP(host) !== 0 && list.check(host, familyOf(host));
  }
  const below = name.startsWith("*.") ? name.slice(1) : name;
  if (below.startsWith(".")) return (host, actual) => allowed(host, actual) && host.endsWith(below);
  const plain = name.replace(/\.$/, "");
  return (host, actual) => allowed(host, actual) && (host === plain || host.endsWith(`.${plain}`));
}

function networkRule(address: string, bits: number): Rule {
  const family = isIP(address);
  if (family === 0 || bits > (family === 4 ? 32 : 128)) return () => false;
  const list = new BlockList();
  list.addSubnet(address, bits, familyOf(address));
  return (host) => isIP(host) !== 0 && list.check(host, familyOf(host));
}

function splitPort(entry: string): { name: string; port: string | undefined } {
  const bracketed = /^\[(.+)\](?::(\d+))?$/.exec(entry);
  if (bracketed !== null) return { name: bracketed[1] as string, port: bracketed[2] };
  const colons = entry.split(":");
  // More than one colon is an IPv6 address.
  return colons.length === 2 ? { name: colons[0] as string, port: colons[1] } : { name: entry, port: undefined };
}

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet("127.0.0.0", 8);
LOOPBACK.addAddress("::1", "ipv6");

function isLoopback(host: string): boolean {
  return isIP(host) !== 0 && LOOPBACK.check(host, familyOf(host));
}

function familyOf(address: string): "ipv4" | "ipv6" {
  return isIP(address) === 6 ? "ipv6" : "ipv4";
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
