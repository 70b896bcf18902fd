/**
 * `pool.fetch`: the fetch of the WHATWG, run by an exchange of the pool and by nothing else. It returns a real
 * `Response` of the running Node, rejects with a TypeError where the network or an argument is at fault (its `cause` is
 * the pool's error), and with the signal's reason where the caller has aborted.
 */
import { HttpRedirectError, HttpRequestError } from "../errors.ts";
import { isRedirect } from "../exchange/redirect.ts";
import { prepareRequest } from "../exchange/request.ts";
import { describeRequest } from "../exchange/target.ts";
import type { HttpResponse } from "../response.ts";
import type { FaceHost } from "./face-host.ts";
import { toFetchError } from "./fetch-error.ts";
import { readFetchArguments, type FetchArguments, type HttpFetch } from "./fetch-request.ts";
import { fetchResponse } from "./fetch-response.ts";

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
  const { signal, redirect } = given;
  // Before anything else may be wrong, as the standard has it.
  if (signal?.aborted === true) return Promise.reject(signal.reason as Error);
  const failed = (error: unknown): never => {
    throw toFetchError(error, "fetch failed");
  };
  try {
    const { options } = host;
    const prepared = prepareRequest(given.request, options);
    const { headers } = prepared;
    headers["accept"] ??= ACCEPT;
    if (given.contentLength !== undefined) headers["content-length"] = given.contentLength;
    // Whoever asked for the compression: fetch undoes it.
    const decodes = prepared.decodes || (!options.disableCompression && prepared.method !== "HEAD");
    const exchange = host.begin(decodes === prepared.decodes ? prepared : { ...prepared, decodes });
    return exchange.run().then((response) => {
      const refused = isRedirect(response.status)
        ? redirectError(response, redirect, prepared.maxRedirects)
        : undefined;
      if (refused === undefined) return fetchResponse(response, prepared.method, signal);
      void response.discard();
      const request = describeRequest(prepared.method, prepared.target);
      const { attempts } = response;
      const context = { pool: options.name, request, phase: "headers", attempts } as const;
      return failed(new HttpRedirectError(`${options.name}: ${request}: ${refused}`, context));
    }, failed);
  } catch (error) {
    const message = error instanceof HttpRequestError ? error.message : "fetch failed";
    return Promise.reject(toFetchError(error, message) as Error);
  }
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
