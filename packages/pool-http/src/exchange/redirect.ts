import type { Failure } from "../failure.ts";
import type { PreparedRequest } from "./request.ts";
import { RequestBody } from "./request-body.ts";
import { headerText, withoutSecrets } from "./headers.ts";
import { isBelow, toTarget } from "./target.ts";

export function isRedirect(status: number): boolean {
  return status === 301 || status === 302 || status === 303 || status === 307 || status === 308;
}

/** The redirects that one request follows. */
export class Redirects {
  readonly #baseUrl: URL | undefined;
  #followed = 0;

  constructor(baseUrl: URL | undefined) {
    this.#baseUrl = baseUrl;
  }

  /** What comes next: a request, the failure that ends it, or `undefined` where the response is handed out as it is. */
  follow(request: PreparedRequest, { status, headers }: Redirected): PreparedRequest | Failure | undefined {
    const location = headerText(headers["location"]);
    if (location === undefined) return undefined;
    if (this.#followed >= request.maxRedirects) {
      return failed(`the server redirected more than ${request.maxRedirects} times (maxRedirects)`);
    }
    const next = nextHop(request, status, location, this.#baseUrl);
    if (typeof next === "string") return failed(next);
    if (next !== undefined) this.#followed++;
    return next;
  }
}

interface Redirected {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | readonly string[]>>;
}

function failed(detail: string): Failure {
  return { reason: "redirect", phase: "headers", code: "ERR_VG_HTTP_REDIRECT", detail, sent: true };
}

/**
 * The request that a redirect asks for, as browsers and Go make it: 303 turns everything but HEAD into a GET, 301 and
 * 302 turn POST into a GET, 307 and 308 repeat the request. On the way to another origin everything that looks like a
 * credential stays behind.
 *
 * Returns `undefined` where the response is better handed out as it is (a body that can be read only once would be
 * needed again), and a text where the redirect must not be followed.
 */
function nextHop(
  request: PreparedRequest,
  status: number,
  location: string,
  baseUrl: URL | undefined,
): PreparedRequest | string | undefined {
  const { method, target } = request;
  const url = URL.parse(inUtf8(location), target.url.href);
  if (url === null || (url.protocol !== "http:" && url.protocol !== "https:")) {
    return "the server redirected to something that is no http or https URL";
  }
  if (baseUrl !== undefined && !isBelow(baseUrl, url)) {
    return `the server redirected out of baseUrl, to ${url.origin}. Use a pool without baseUrl, or maxRedirects: 0`;
  }
  const sameOrigin = url.origin === target.origin;
  const toGet = (status === 303 && method !== "HEAD") || ((status === 301 || status === 302) && method === "POST");
  if (!toGet && !request.body.replayable) return undefined;
  let headers = sameOrigin ? request.headers : withoutSecrets(request.headers);
  if (toGet && method !== "GET") {
    headers = Object.fromEntries(Object.entries(headers).filter(([name]) => !name.startsWith("content-")));
  }
  return {
    ...request,
    method: toGet ? "GET" : method,
    target: toTarget(url, sameOrigin ? target.authorization : undefined),
    headers,
    body: toGet ? new RequestBody(undefined) : request.body,
  };
}

/** Headers are read as Latin-1. A path that a server has written in UTF-8 is meant as such. */
function inUtf8(text: string): string {
  const bytes = Buffer.from(text, "latin1");
  return bytes.toString("latin1") === text ? bytes.toString("utf8") : text;
}
