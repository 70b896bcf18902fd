/** Where a request goes: parsed once, refused early, and printable without secrets. */
export interface Target {
  /** "https://api.example.com:8443", as a key and for the transport. */
  readonly origin: string;
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

export function toTarget(url: URL): Target {
  const { username, password } = url;
  const authorization =
    username === "" && password === ""
      ? undefined
      : `Basic ${Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString("base64")}`;
  return { origin: url.origin, url, path: url.pathname + url.search, authorization };
}

/** Whether `url` lies below `baseUrl`: same origin, and inside its folder. */
export function isBelow(baseUrl: URL, url: URL): boolean {
  return url.origin === baseUrl.origin && `${url.pathname}/`.startsWith(baseUrl.pathname);
}

/** "GET https://api.example.com/data?…": for errors and logs. */
export function describeRequest(method: string, target: Target): string {
  return `${method} ${target.origin}${target.url.pathname}${target.url.search === "" ? "" : "?…"}`;
}

function parse(input: string | URL): URL {
  if (input instanceof URL) return input;
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
    throw new Error(`the URL leaves baseUrl (${baseUrl.origin}${baseUrl.pathname}). Use a pool without baseUrl for it`);
  }
  if (url.username === "" && url.password === "") {
    url.username = baseUrl.username;
    url.password = baseUrl.password;
  }
  return url;
}
