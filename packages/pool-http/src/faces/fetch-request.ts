/** What fetch is called with, as a request of the pool. Throws a TypeError where the standard has one. */
import { types } from "node:util";
import { describeValue } from "@vg/internal";
import { BytesGoneError, isGone, type HttpBodyValue } from "../exchange/request-body.ts";
import type { HttpRequest, HttpRequestOptions } from "../exchange/request.ts";
import { isFormData } from "../exchange/multipart.ts";
import { peek } from "./peek.ts";

/** The pool's options that a single request may change, for those that fetch has no argument of its own. */
export type HttpFetchOptions = Omit<HttpRequestOptions, "headers" | "signal" | "stream">;

export interface HttpFetchInit extends RequestInit {
  /** What a request may change of the pool's options: `{ timeoutMs, maxRetries, retryOn, ... }`. */
  pool?: HttpFetchOptions | undefined;
}

/** As the global `fetch`; with `init.pool` for the options of the pool. It needs no `this` and can be passed about. */
export type HttpFetch = (input: string | URL | Request, init?: HttpFetchInit) => Promise<Response>;

export interface FetchArguments {
  readonly request: HttpRequest;
  readonly signal: AbortSignal | undefined;
  readonly redirect: "follow" | "error" | "manual";
  /** Of a body that comes as a stream, where the caller knows it. */
  readonly contentLength: string | undefined;
  readonly integrity: string;
}

const FORBIDDEN_METHOD = /^(?:connect|trace|track)$/i;
/** The pool's own business. In a browser a page cannot set them, and is not told so either. */
const IGNORED_HEADERS = new Set(["connection", "keep-alive", "transfer-encoding", "upgrade", "expect", "host"]);

export function readFetchArguments(
  input: string | URL | Request,
  init: HttpFetchInit | undefined,
): FetchArguments | Promise<FetchArguments> {
  if (init !== undefined && init !== null && typeof init !== "object") {
    throw new TypeError(`fetch: init must be an object, got ${describeValue(init)}`);
  }
  const given = init ?? {};
  refuse(given);
  if (!isRequest(input)) {
    // Anything else is taken by its text, which is how the standard reads a URL.
    const url = typeof input === "string" || input instanceof URL ? input : String(input);
    return complete(url, given, given.body ?? undefined);
  }
  // The language's own rules for what `init` changes of a request.
  const request = hasOthers(given) ? new Request(input, given) : input;
  if (request.bodyUsed) throw new TypeError("fetch: the body of the Request was read already");
  if (request.body === null) return complete(request.url, merged(request, given), undefined);
  // A Request hides what its body was made of. Where it was in memory, it is here at once, and can be sent again.
  return peek(request.body as ReadableStream<Uint8Array>).then((body) =>
    complete(request.url, { ...merged(request, given), duplex: "half" }, body),
  );
}

/** What would silently not be done. */
function refuse({ dispatcher }: HttpFetchInit): void {
  if (dispatcher === undefined || dispatcher === null) return;
  const advice = "Leave it out, or use undici's fetch";
  throw new TypeError(`fetch: this fetch sends over its own pool and takes no dispatcher. ${advice}`);
}

function complete(url: string | URL, init: HttpFetchInit, given: unknown): FetchArguments {
  const method: unknown = init.method ?? "GET";
  const { redirect = "follow", pool } = init;
  if (typeof method === "string" && FORBIDDEN_METHOD.test(method)) {
    throw new TypeError(`fetch: the method ${method} is not allowed`);
  }
  if (redirect !== "follow" && redirect !== "error" && redirect !== "manual") {
    throw new TypeError(`fetch: redirect must be "follow", "error" or "manual", got ${describeValue(redirect)}`);
  }
  if (given !== undefined && typeof method === "string" && /^(?:get|head)$/i.test(method)) {
    throw new TypeError(`fetch: a ${method.toUpperCase()} request cannot have a body`);
  }
  const body = given === undefined ? undefined : bodyOf(given, init.duplex);
  const { headers, contentLength } = headersOf(init.headers, isStream(body));
  const signal = init.signal ?? undefined;
  const request: HttpRequest = { ...pool, method: method as string, url, stream: true };
  if (headers !== undefined) request.headers = headers;
  if (body !== undefined) request.body = body;
  if (signal !== undefined) request.signal = signal;
  if (redirect !== "follow") request.maxRedirects = 0;
  return { request, signal, redirect, contentLength, integrity: init.integrity ?? "" };
}

function merged(request: Request, { pool }: HttpFetchInit): HttpFetchInit {
  const { method, headers, redirect, signal, integrity } = request;
  return { method, headers, redirect, signal, integrity, pool };
}

/** Whether `init` says anything that a Request knows of. */
function hasOthers(init: HttpFetchInit): boolean {
  return Object.keys(init).some((name) => name !== "pool" && init[name as keyof HttpFetchInit] !== undefined);
}

function isRequest(input: unknown): input is Request {
  return typeof input === "object" && input !== null && !(input instanceof URL) && input instanceof Request;
}

function isStream(body: unknown): boolean {
  return typeof body === "object" && body !== null && Symbol.asyncIterator in body && !(body instanceof Blob);
}

/** What the standard takes as a body, and async iterables (Node's streams among them), as Node's own fetch does. */
function bodyOf(body: unknown, duplex: unknown): HttpBodyValue {
  if (typeof body === "string" || body instanceof URLSearchParams || body instanceof Blob) return body;
  if (isGone(body)) throw new TypeError(`fetch: ${new BytesGoneError().message}`);
  // A copy, as the standard has it: what the caller does with its bytes after the call is its own business. (ArrayBuffers
  // of another context, a test runner's for example, are no instances of ours.)
  if (types.isAnyArrayBuffer(body)) return new Uint8Array(body.slice(0));
  if (ArrayBuffer.isView(body)) return new Uint8Array(body.buffer, body.byteOffset, body.byteLength).slice();
  if (typeof body === "object" && body !== null) {
    if (isFormData(body)) return body;
    if (Symbol.asyncIterator in body) {
      if (duplex !== "half") throw new TypeError('fetch: a body that is a stream needs duplex: "half"');
      if (body instanceof ReadableStream && body.locked) throw new TypeError("fetch: the body is locked to a reader");
      return body;
    }
  }
  return String(body);
}

/** Without what the pool sets itself. The size of a stream is known to nobody but the caller. */
function headersOf(
  init: HttpFetchInit["headers"],
  streams: boolean,
): { headers?: [string, string][]; contentLength: string | undefined } {
  if (init === undefined || init === null) return { contentLength: undefined };
  if (typeof init !== "object") throw new TypeError("fetch: headers must be an object, pairs, or Headers");
  const pairs = (Symbol.iterator in init ? [...(init as Iterable<unknown>)] : Object.entries(init)) as unknown[];
  const headers: [string, string][] = [];
  let contentLength: string | undefined;
  for (const pair of pairs) {
    if (!Array.isArray(pair) || pair.length !== 2) throw new TypeError("fetch: a header must be a name and a value");
    const name = String(pair[0]);
    const value = String(pair[1]).replace(/^[\t\n\r ]+|[\t\n\r ]+$/g, "");
    const key = name.toLowerCase();
    if (key === "content-length") contentLength = streams && /^\d+$/.test(value) ? value : undefined;
    else if (!IGNORED_HEADERS.has(key)) headers.push([name, value]);
  }
  return { headers, contentLength };
}
