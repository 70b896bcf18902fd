import { describeValue, LONGEST_DELAY_MS } from "@vg/internal";
import { HttpRequestError } from "../errors.ts";
import type { HttpRetryOn, ResolvedOptions } from "../options.ts";
import { ACCEPT_ENCODING } from "./decode.ts";
import { isKeyed, normalizeHeaders, type HttpHeadersInit } from "./headers.ts";
import { RequestBody, type HttpBody } from "./request-body.ts";
import type { Tap } from "./tap.ts";
import { resolveTarget, type Target } from "./target.ts";

/** What a single request may change. Ranges and defaults are those of the pool's options of the same name. */
export interface HttpRequestOptions {
  /** Over the pool's headers, name by name. */
  headers?: HttpHeadersInit | undefined;
  /** Ends the request at once wherever it is; it then rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  timeoutMs?: number | undefined;
  attemptTimeoutMs?: number | undefined;
  maxRetries?: number | undefined;
  retryOn?: HttpRetryOn | undefined;
  maxRedirects?: number | undefined;
  maxResponseBytes?: number | undefined;
  /** Resolve at the headers and read the body as it comes. Default false: the body is read first. */
  stream?: boolean | undefined;
  bodyGapTimeoutMs?: number | undefined;
  bodyTimeoutMs?: number | undefined;
}

export interface HttpRequest extends HttpRequestOptions {
  /** Default "GET". */
  method?: string | undefined;
  /** Absolute, or below the pool's `baseUrl`. */
  url: string | URL;
  body?: HttpBody | undefined;
}

/** A request that was checked and completed: everything an exchange needs. */
export interface PreparedRequest {
  readonly method: string;
  readonly target: Target;
  readonly headers: Record<string, string | string[]>;
  readonly body: RequestBody;
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number;
  readonly attemptTimeoutMs: number | undefined;
  readonly maxRetries: number;
  readonly retryOn: HttpRetryOn;
  readonly maxRedirects: number;
  readonly maxResponseBytes: number;
  readonly stream: boolean;
  readonly bodyGapTimeoutMs: number;
  readonly bodyTimeoutMs: number;
  readonly keyed: boolean;
  /** We asked for compression, so we undo it. */
  readonly decodes: boolean;
  readonly tap: Tap | undefined;
  /** The gap limit, where it holds before the first body byte as well. */
  readonly firstGapMs: number | undefined;
}

interface NumberRule {
  readonly min: number;
  readonly max: number;
  readonly whole: boolean;
}

const MILLISECONDS: NumberRule = { min: 1, max: LONGEST_DELAY_MS, whole: false };
const COUNT: NumberRule = { min: 0, max: 100, whole: true };

/** What a request may have, and the rule of what is a number. */
const RULES: Readonly<Record<keyof HttpRequest, NumberRule | "else">> = {
  method: "else",
  url: "else",
  body: "else",
  headers: "else",
  signal: "else",
  timeoutMs: MILLISECONDS,
  attemptTimeoutMs: MILLISECONDS,
  maxRetries: COUNT,
  retryOn: "else",
  maxRedirects: COUNT,
  maxResponseBytes: { min: 1, max: Number.MAX_SAFE_INTEGER, whole: true },
  stream: "else",
  bodyGapTimeoutMs: MILLISECONDS,
  bodyTimeoutMs: MILLISECONDS,
};

const BODILESS = new Set(["GET", "HEAD", "TRACE"]);

/** Checks a request and fills in the pool's settings; throws HttpRequestError. */
export function prepareRequest(request: HttpRequest, options: ResolvedOptions): PreparedRequest {
  const refuse = (message: string, cause?: unknown): Error =>
    new HttpRequestError(`${options.name}: ${message}`, { pool: options.name, cause });
  if (request === null || typeof request !== "object") throw refuse("a request must be an object with a url.");
  for (const name of Object.keys(request) as (keyof HttpRequest)[]) {
    const rule = Object.hasOwn(RULES, name) ? RULES[name] : undefined;
    if (rule === undefined) {
      throw refuse(`unknown request option ${JSON.stringify(name)}. Known: ${Object.keys(RULES).join(", ")}.`);
    }
    if (rule === "else") continue;
    const value = request[name];
    const { min, max, whole } = rule;
    if (value === undefined) continue;
    if (typeof value === "number" && value >= min && value <= max && (!whole || Number.isInteger(value))) continue;
    const kind = whole ? "whole number" : "number of milliseconds";
    throw refuse(`${name} must be a ${kind} from ${min} to ${max}, got ${describeValue(value)}.`);
  }
  const { signal, retryOn = options.retryOn, stream = false, timeoutMs = options.timeoutMs } = request;
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw refuse("signal must be an AbortSignal.");
  if (retryOn !== "safe" && retryOn !== "rejected") throw refuse('retryOn must be "safe" or "rejected".');
  if (typeof stream !== "boolean") throw refuse("stream must be true or false.");

  const given: unknown = request.method ?? "GET";
  const method = typeof given === "string" ? given.toUpperCase() : "";
  if (!/^[A-Z][A-Z-]*$/.test(method) || method === "CONNECT") {
    throw refuse(`method must be an HTTP method other than CONNECT, got ${describeValue(given)}.`);
  }
  if (request.body !== undefined && request.body !== null && BODILESS.has(method)) {
    const advice = "Send it with POST or PUT, or put it into the query";
    throw refuse(
      `a ${method} request must have no body: servers ignore it, or take it for the next request. ${advice}.`,
    );
  }
  let target: Target;
  let headers: Record<string, string | string[]>;
  let body: RequestBody;
  try {
    target = resolveTarget(request.url, options.baseUrl);
    headers = { ...options.headers, ...(request.headers === undefined ? {} : normalizeHeaders(request.headers)) };
    body = new RequestBody(request.body);
  } catch (error) {
    throw refuse(`${method}: ${(error as Error).message}.`, error);
  }
  // A part of a compressed body, or none at all, cannot be inflated.
  const decodes =
    !options.disableCompression &&
    method !== "HEAD" &&
    headers["accept-encoding"] === undefined &&
    headers["range"] === undefined;
  if (decodes) headers["accept-encoding"] = ACCEPT_ENCODING;
  return {
    method,
    target,
    headers,
    body,
    signal,
    timeoutMs,
    attemptTimeoutMs: request.attemptTimeoutMs ?? options.attemptTimeoutMs,
    maxRetries: request.maxRetries ?? options.maxRetries,
    retryOn,
    maxRedirects: request.maxRedirects ?? options.maxRedirects,
    maxResponseBytes: request.maxResponseBytes ?? options.maxResponseBytes,
    stream,
    bodyGapTimeoutMs: request.bodyGapTimeoutMs ?? options.bodyGapTimeoutMs,
    bodyTimeoutMs: request.bodyTimeoutMs ?? options.bodyTimeoutMs,
    keyed: isKeyed(headers),
    decodes,
    tap: undefined,
    firstGapMs: undefined,
  };
}

/** The headers of one attempt: those that its body and its URL imply are added, unless the caller named them. */
export function headersFor(
  { headers, target }: PreparedRequest,
  contentType: string | undefined,
): Record<string, string | string[]> {
  const addType = contentType !== undefined && headers["content-type"] === undefined;
  const addAuthorization = target.authorization !== undefined && headers["authorization"] === undefined;
  if (!addType && !addAuthorization) return headers;
  return {
    ...headers,
    ...(addType ? { "content-type": contentType } : {}),
    ...(addAuthorization ? { authorization: target.authorization as string } : {}),
  };
}
