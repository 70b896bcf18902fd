/** node's IncomingMessage as a WHATWG Request. */
import type { IncomingMessage } from "node:http";
import type { TLSSocket } from "node:tls";
import { RefusedRequest } from "../request/refused-request.ts";
import { IncomingBody } from "./incoming-body.ts";

/** A name or an IPv4 address, or an IPv6 address in brackets, and perhaps a port: what may stand before a path. */
const AUTHORITY = /^(?:[\w.-]+|\[[\da-f:.]+\])(?::\d{0,5})?$/i;
/** The fetch standard forbids them. */
const NOT_OF_FETCH = new Set(["CONNECT", "TRACE", "TRACK"]);

/**
 * A new Request for one that came in. Its body is read when somebody reads it, and no faster.
 *
 * @param signal aborts when the client leaves
 * @throws RefusedRequest where the client has sent what no Request can be made of
 */
export function toRequest(
  incoming: IncomingMessage,
  signal: AbortSignal,
): { request: Request; body: IncomingBody | undefined } {
  const method = incoming.method ?? "GET";
  if (NOT_OF_FETCH.has(method)) {
    throw new RefusedRequest(501, "not_implemented", `This service does not implement the method ${method}.`);
  }
  const body = hasBody(incoming, method) ? new IncomingBody(incoming) : undefined;
  const init: RequestInit = { method, signal };
  if (body !== undefined) {
    init.body = body.stream;
    init.duplex = "half";
  }
  const url = urlOf(incoming);
  if (url === undefined) throw malformed();
  try {
    const request = body === undefined ? new Request(url, init) : new RequestWithBody(url, init, body);
    // One by one takes half the time of handing them to the constructor.
    addHeaders(request.headers, incoming);
    return { request, body };
  } catch (cause) {
    throw malformed(cause);
  }
}

/**
 * Most bodies are read at once, as text or JSON: that goes past the stream, which takes several times as long. For
 * everything else, and to whoever makes another Request of it, it is what its base class is.
 */
class RequestWithBody extends Request {
  readonly #body: IncomingBody;

  static {
    const { text, json } = Request.prototype;
    const own = {
      async text(this: RequestWithBody): Promise<string> {
        return this.#isUntouched ? decoded(await this.#body.readAll()) : text.call(this);
      },
      async json(this: RequestWithBody): Promise<unknown> {
        return this.#isUntouched ? (JSON.parse(decoded(await this.#body.readAll())) as unknown) : json.call(this);
      },
    };
    // The types of Request have its methods as properties, which no method may override.
    Object.defineProperties(this.prototype, Object.getOwnPropertyDescriptors(own));
  }

  constructor(url: string, init: RequestInit, body: IncomingBody) {
    super(url, init);
    this.#body = body;
  }

  get #isUntouched(): boolean {
    return this.#body.isUntouched && !this.bodyUsed && !this.#body.stream.locked;
  }
}

/** As the standard has it: without the mark of the byte order. */
function decoded(bytes: Buffer): string {
  const hasMark = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf;
  return bytes.toString("utf8", hasMark ? 3 : 0);
}

function malformed(cause?: unknown): RefusedRequest {
  return new RefusedRequest(400, "invalid_request", "The request's target or its Host header is malformed.", { cause });
}

/** GET and HEAD have none in the fetch standard; node drops what comes with them. */
function hasBody({ headers }: IncomingMessage, method: string): boolean {
  if (method === "GET" || method === "HEAD") return false;
  const length = headers["content-length"];
  return length === undefined ? headers["transfer-encoding"] !== undefined : Number(length) > 0;
}

/** As node has them: repeated ones are joined, but of those that may come only once, the first counts. */
function addHeaders(to: Headers, { headers }: IncomingMessage): void {
  for (const name in headers) {
    const value = headers[name];
    if (typeof value === "string") to.append(name, value);
    else for (const each of value ?? []) to.append(name, each);
  }
}

function urlOf({ url = "/", headers, socket }: IncomingMessage): string | undefined {
  // To a proxy a whole URL is sent, which says more than Host.
  if (!url.startsWith("/") && url !== "*") return /^https?:\/\//i.test(url) ? url : undefined;
  const scheme = (socket as TLSSocket).encrypted ? "https" : "http";
  // Only HTTP/1.0 may come without.
  const host = headers.host ?? localAuthority(socket);
  // Strings are put together, not resolved: "//elsewhere/" is a path of ours.
  return AUTHORITY.test(host) ? `${scheme}://${host}${url === "*" ? "/*" : url}` : undefined;
}

function localAuthority({ localAddress = "localhost", localPort }: IncomingMessage["socket"]): string {
  const host = localAddress.includes(":") ? `[${localAddress}]` : localAddress;
  return localPort === undefined ? host : `${host}:${localPort}`;
}
