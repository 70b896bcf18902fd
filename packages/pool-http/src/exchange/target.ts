import { hasHiddenDots } from "./hidden-dots.ts";

/** Where a request goes: parsed once, refused early, and printable without secrets. */
export interface Target {
  /** "https://api.example.com:8443", as a key and for the transport. */
  readonly origin: string;
  /** Without user and password: it is shown to callers. Nobody else holds this object, so nobody can change it. */
  readonly url: URL;
  /** Path and query, as sent. */
  readonly path: string;
  /** "Basic …" where the URL carries a user. */
  readonly authorization: string | undefined;
}

/** Throws an Error with a message for the caller; it never holds the URL's user, password or query. */
export function resolveTarget(input: string | URL, baseUrl: URL | undefined): Target {
  const url = baseUrl === undefined ? parse(input) : resolveBelow(baseUrl, input);
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    throw new Error(`the URL's scheme must be http or https, got ${JSON.stringify(url.protocol)}`);
  }
  return toTarget(url);
}

/** Takes `url` over and changes it. `inherited` is the authorization where the URL itself carries no user. */
export function toTarget(url: URL, inherited?: string): Target {
  const { username, password } = url;
  let authorization = inherited;
  if (username !== "" || password !== "") {
    const pair = Buffer.concat([percentDecode(username), Buffer.from(":"), percentDecode(password)]);
    authorization = `Basic ${pair.toString("base64")}`;
    url.username = "";
    url.password = "";
  }
  const { href, origin } = url;
  const fragment = href.indexOf("#");
  // Not of pathname and search, which do not say that there was a question mark with nothing after it.
  return {
    origin: sameText(origin),
    url,
    path: href.slice(origin.length, fragment < 0 ? undefined : fragment),
    authorization,
  };
}

let lastOrigin = "";

/**
 * The origin as the same string as last time where it is the same: each URL makes a new one, and whoever looks up a new
 * string in a Map pays for its hash, which a string keeps once it has it. There are several such look-ups in a request.
 */
function sameText(origin: string): string {
  if (origin !== lastOrigin) lastOrigin = origin;
  return lastOrigin;
}

/** As the URL standard does it: what is no escape stays as it is. (decodeURIComponent throws, and on bytes, too.) */
function percentDecode(text: string): Buffer {
  const bytes = text.replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return Buffer.from(bytes, "latin1");
}

/** Whether `url` lies below `baseUrl`: same origin, and inside its folder, however a server reads its path. */
export function isBelow(baseUrl: URL, url: URL): boolean {
  return isPlainlyBelow(baseUrl, url) && !mayClimb(baseUrl, url);
}

/** As a URL's parser sees it. */
function isPlainlyBelow(baseUrl: URL, url: URL): boolean {
  return url.origin === baseUrl.origin && `${url.pathname}/`.startsWith(baseUrl.pathname);
}

/** As some servers see it. There is nothing above the root. */
function mayClimb({ pathname }: URL, url: URL): boolean {
  return pathname !== "/" && hasHiddenDots(url.pathname.slice(pathname.length));
}

/** "GET https://api.example.com/data?…": for errors and logs. */
export function describeRequest(method: string, target: Target): string {
  return `${method} ${target.origin}${target.url.pathname}${target.url.search === "" ? "" : "?…"}`;
}

function parse(input: string | URL): URL {
  // A copy: the caller may change its own at any time.
  if (input instanceof URL) return new URL(input.href);
  if (typeof input !== "string") throw new Error("the URL must be a string or a URL");
  const url = URL.parse(input);
  if (url === null) throw new Error("the URL must be absolute, such as https://api.example.com/data; or set baseUrl");
  return url;
}

function resolveBelow(baseUrl: URL, input: string | URL): URL {
  const absolute = input instanceof URL || /^[a-z][a-z0-9+.-]*:/i.test(input) || /^[\\/]{2}/.test(input);
  // "./" keeps a colon in a relative path from being read as a scheme.
  const url = URL.parse(absolute ? String(input) : `./${input.replace(/^\//, "")}`, baseUrl.href);
  if (url === null || !isBelow(baseUrl, url)) {
    const hidden = url !== null && isPlainlyBelow(baseUrl, url);
    const why = hidden ? ', where a server takes an escaped or disguised ".." in its path for a way up' : "";
    const base = `${baseUrl.origin}${baseUrl.pathname}`;
    throw new Error(`the URL leaves baseUrl (${base})${why}. Use a pool without baseUrl for it`);
  }
  if (url.username === "" && url.password === "") {
    url.username = baseUrl.username;
    url.password = baseUrl.password;
  }
  return url;
}
