/**
 * `pool.fetch`: the fetch of the WHATWG, run by an exchange of the pool and by nothing else. It returns a real
 * `Response` of the running Node, rejects with a TypeError where the network or an argument is at fault (its `cause` is
 * the pool's error), and with the signal's reason where the caller has aborted.
 */
import { HttpProtocolError, HttpRedirectError, HttpRequestError, type HttpErrorContext } from "../errors.ts";
import { isRedirect } from "../exchange/redirect.ts";
import { prepareRequest, type PreparedRequest } from "../exchange/request.ts";
import { describeRequest } from "../exchange/target.ts";
import type { HttpResponse } from "../response.ts";
import type { FaceHost } from "./face-host.ts";
import { toFetchError } from "./fetch-error.ts";
import { readFetchArguments, type FetchArguments, type HttpFetch } from "./fetch-request.ts";
import { fetchResponse } from "./fetch-response.ts";
import { matchesIntegrity } from "./integrity.ts";

/** What browsers and Node's fetch put in where the caller names none; some servers refuse a request without it. */
const ACCEPT = "*/*";

export function createFetch(host: FaceHost): HttpFetch {
  // Not an async function: an await less for every request, and the errors below are thrown within one.
  return (input, init) => {
    if (isLocal(input, host)) return globalThis.fetch(input, init);
    let given: FetchArguments | Promise<FetchArguments>;
    try {
      given = readFetchArguments(input, init);
    } catch (error) {
      return Promise.reject(error as Error);
    }
    return given instanceof Promise ? given.then((read) => send(host, read)) : send(host, given);
  };
}

function send(host: FaceHost, given: FetchArguments): Promise<Response> {
  // Before anything else may be wrong, as the standard has it.
  if (given.signal?.aborted === true) return Promise.reject(given.signal.reason as Error);
  try {
    const { options } = host;
    const prepared = prepareRequest(given.request, options);
    const { headers } = prepared;
    headers["accept"] ??= ACCEPT;
    if (given.contentLength !== undefined) headers["content-length"] = given.contentLength;
    // Whoever asked for the compression: fetch undoes it.
    const decodes = prepared.decodes || (!options.disableCompression && prepared.method !== "HEAD");
    const exchange = host.begin(decodes === prepared.decodes ? prepared : { ...prepared, decodes });
    return exchange.run().then((response) => answer(response, prepared, given, options.name), failed);
  } catch (error) {
    const message = error instanceof HttpRequestError ? error.message : "fetch failed";
    return Promise.reject(toFetchError(error, message) as Error);
  }
}

function failed(error: unknown): never {
  throw toFetchError(error, "fetch failed");
}

/** What the caller gets for the pool's response, once its headers are there. */
function answer(
  response: HttpResponse,
  prepared: PreparedRequest,
  given: FetchArguments,
  pool: string,
): Response | Promise<Response> {
  const { method } = prepared;
  const { signal, integrity } = given;
  const refusal = (why: string): [message: string, context: HttpErrorContext] => {
    const request = describeRequest(method, prepared.target);
    return [`${pool}: ${request}: ${why}`, { pool, request, attempts: response.attempts }];
  };
  const refused = isRedirect(response.status)
    ? redirectError(response, given.redirect, prepared.maxRedirects)
    : undefined;
  if (refused !== undefined) {
    void response.discard();
    return failed(new HttpRedirectError(...refusal(refused)));
  }
  if (integrity === "") return fetchResponse(response, method, signal);
  // Nothing of the body may be handed out before all of it was found good.
  return response.bytes().then((bytes) => {
    if (matchesIntegrity(bytes, integrity)) return fetchResponse(response, method, signal, bytes);
    return failed(new HttpProtocolError(...refusal("the body is not the one that integrity names")));
  }, failed);
}

/** Why a redirect that was handed out is none to the caller. */
function redirectError(
  response: HttpResponse,
  mode: FetchArguments["redirect"],
  maxRedirects: number,
): string | undefined {
  if (mode === "error") return `the server redirected (${response.status}), which redirect: "error" forbids`;
  if (mode === "manual" || maxRedirects === 0 || response.header("location") === undefined) return undefined;
  return `the server redirected (${response.status}), and the body could be read only once. Give one that is in memory`;
}

/**
 * `data:` and `blob:` name what this process holds already: nothing to pool, and Node's own fetch answers. Not where a
 * base URL forbids everything that is not below it.
 */
function isLocal(input: string | URL | Request, host: FaceHost): boolean {
  if (host.options.baseUrl !== undefined) return false;
  const url = typeof input === "string" ? input : input instanceof URL ? input.protocol : input?.url;
  return typeof url === "string" && /^\s*(?:data|blob):/i.test(url);
}
