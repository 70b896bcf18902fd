/**
 * What undici's callers pass to `dispatch`, as a request of the pool: sent as it is, without decoding and without
 * redirects. Throws undici's InvalidArgumentError and NotSupportedError, before anything is sent.
 */
import { Readable } from "node:stream";
import { stringify, type ParsedUrlQueryInput } from "node:querystring";
import { describeValue, LONGEST_DELAY_MS } from "@vg/internal";
import { errors, type Dispatcher } from "undici";
import { BytesGoneError, isGone, RequestBody, type HttpBodyValue } from "../exchange/request-body.ts";
import { isKeyed } from "../exchange/headers.ts";
import { isFormData } from "../exchange/multipart.ts";
import type { PreparedRequest } from "../exchange/request.ts";
import type { Tap } from "../exchange/tap.ts";
import { hasHiddenDots } from "../exchange/hidden-dots.ts";
import { resolveTarget, type Target } from "../exchange/target.ts";
import type { ResolvedOptions } from "../options.ts";
import { dispatchHeaders } from "./dispatch-headers.ts";
import { isOldStream, modern } from "./old-stream.ts";

/** What undici takes, beyond what its types say. */
export type DispatchOptions = Omit<Dispatcher.DispatchOptions, "body"> & {
  readonly body?: unknown;
  readonly throwOnError?: unknown;
  readonly maxRedirections?: unknown;
  readonly dispatcher?: unknown;
  readonly servername?: unknown;
};

const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const NOT_IN_PATHS = /[^\u0021-\u00ff]/;

export function prepareDispatch(
  given: DispatchOptions,
  options: ResolvedOptions,
  source: Readable | undefined,
  tap: Tap,
): PreparedRequest {
  const { method } = given;
  refuseUnsupported(given, options);
  const headers = dispatchHeaders(given.headers, options.headers);
  if (given.reset === true) headers["connection"] = "close";
  const body = new RequestBody(bodyOf(given.body, source), given.idempotent === false);
  return {
    method,
    target: targetOf(given, options),
    headers,
    body,
    signal: undefined,
    timeoutMs: options.timeoutMs,
    attemptTimeoutMs: options.attemptTimeoutMs,
    maxRetries: options.maxRetries,
    retryOn: options.retryOn,
    maxRedirects: 0,
    maxResponseBytes: options.maxResponseBytes,
    stream: true,
    bodyGapTimeoutMs: limit(given.bodyTimeout, "bodyTimeout", LONGEST_DELAY_MS, options.bodyGapTimeoutMs),
    bodyTimeoutMs: options.bodyTimeoutMs,
    keyed: given.idempotent === true || isKeyed(headers),
    decodes: false,
    tap,
    firstGapMs: limit(given.bodyTimeout, "bodyTimeout", undefined, undefined),
  };
}

function refuseUnsupported(given: DispatchOptions, options: ResolvedOptions): void {
  const { method, upgrade, dispatcher, throwOnError, maxRedirections, reset, expectContinue } = given;
  if (typeof method !== "string") throw new errors.InvalidArgumentError("method must be a string");
  if (!TOKEN.test(method)) throw new errors.InvalidArgumentError("invalid request method");
  const instead = "Use an undici Agent for them";
  if (method === "CONNECT") {
    throw new errors.NotSupportedError(`${options.name}: the pool's dispatcher makes no CONNECT tunnels. ${instead}.`);
  }
  if (isSet(upgrade) && upgrade !== false) {
    if (typeof upgrade !== "string") throw new errors.InvalidArgumentError("upgrade must be a string");
    const message = `${options.name}: the pool's dispatcher makes no upgrades (WebSocket). ${instead}.`;
    throw new errors.NotSupportedError(message);
  }
  for (const [name, value] of Object.entries({ reset, expectContinue })) {
    if (isSet(value) && typeof value !== "boolean") {
      throw new errors.InvalidArgumentError(`invalid ${name}`);
    }
  }
  if (isSet(dispatcher)) throw new errors.InvalidArgumentError("opts.dispatcher is not supported by dispatch");
  if (isSet(throwOnError)) throw new errors.InvalidArgumentError("invalid throwOnError");
  if (isSet(maxRedirections) && maxRedirections !== 0) {
    const message = "maxRedirections is not supported, use the redirect interceptor";
    throw new errors.InvalidArgumentError(message);
  }
}

/** The path goes out as it was given, byte by byte: a signature may cover it. */
function targetOf({ origin, path, query, servername }: DispatchOptions, { baseUrl }: ResolvedOptions): Target {
  if (typeof path !== "string") throw new errors.InvalidArgumentError("path must be a string");
  if (!path.startsWith("/") && !/^https?:\/\//.test(path)) {
    throw new errors.InvalidArgumentError("path must be an absolute URL or start with a slash");
  }
  if (NOT_IN_PATHS.test(path)) throw new errors.InvalidArgumentError("invalid request path");
  const full = withQuery(path, query);
  try {
    if (!isSet(origin)) {
      if (baseUrl === undefined) throw new Error("origin must be a non-empty string or URL");
      return { ...readAsAnyServer("", full, baseUrl), path: belowBase(full, baseUrl) };
    }
    const parsed = URL.parse(String(origin));
    if (parsed === null) throw new Error("origin must be an absolute http or https URL");
    if (parsed.protocol === "https:" && isSet(servername) && servername !== parsed.hostname) {
      // It would be the wrong name that the certificate is checked for.
      throw new Error("servername is the pool's (tls.servername); instead of interceptors.dns, give the pool a lookup");
    }
    if (full.startsWith("/")) return { ...readAsAnyServer(parsed.origin, full, baseUrl), path: full };
    // As a proxy is asked: what it is asked for says nothing of where the request goes.
    if (baseUrl !== undefined) throw new Error("with baseUrl, path must start with a slash");
    return { ...resolveTarget(full, undefined), origin: resolveTarget(parsed, undefined).origin, path: full };
  } catch (error) {
    throw Object.assign(new errors.InvalidArgumentError((error as Error).message), { cause: error });
  }
}

/** What all servers read alike, dots included. */
const PLAIN = /^(?:\/[\w.~-]+)*\/?$/;

/**
 * A path that goes out as it is has to lie below `baseUrl` for a server that takes "#" for the end of the path and for one
 * that does not, for one that takes "//" or "/%2f" for "/", and for all that read bytes beyond ASCII as bytes. Beside
 * any of these nobody can say where a ".." leads.
 */
function readAsAnyServer(origin: string, path: string, baseUrl: URL | undefined): Target {
  const target = resolveTarget(origin + path, baseUrl);
  if (baseUrl === undefined || baseUrl.pathname === "/") return target;
  const [beforeQuery = ""] = path.split("?", 1);
  if (PLAIN.test(beforeQuery)) return target;
  const bytes = beforeQuery.replaceAll(/[\u0080-\u00ff]/g, (byte) => `%${byte.charCodeAt(0).toString(16)}`);
  const [beforeHash = ""] = bytes.split("#", 1);
  if (hasHiddenDots(bytes) || hasHiddenDots(beforeHash)) {
    const base = `${baseUrl.origin}${baseUrl.pathname}`;
    throw new Error(`the URL leaves baseUrl (${base}), as some servers read its "..". Leave the dots out`);
  }
  return target;
}

/** With its origin and its whole path, which interceptors look for, where it names a path below the pool's base URL. */
export function withOrigin<Given extends DispatchOptions>(given: Given, baseUrl: URL): Given {
  if (isSet(given.origin) || typeof given.path !== "string") return given;
  return { ...given, origin: baseUrl.origin, path: belowBase(given.path, baseUrl) };
}

function belowBase(path: string, baseUrl: URL): string {
  return `${baseUrl.pathname.slice(0, -1)}${path}`;
}

function isSet(value: unknown): boolean {
  return value !== undefined && value !== null && value !== "";
}

function withQuery(path: string, query: unknown): string {
  if (query === undefined || query === null) return path;
  if (/[?#]/.test(path)) {
    throw new errors.InvalidArgumentError('query cannot be passed when the path already contains "?" or "#".');
  }
  const text = stringify(query as ParsedUrlQueryInput);
  return text === "" ? path : `${path}?${text}`;
}

/** For the headers, once the request has been sent; undefined is no limit of its own. */
export function headersLimit(given: DispatchOptions): number | undefined {
  return limit(given.headersTimeout, "headersTimeout", undefined, undefined);
}

/** undici's time limits: 0 is none, nothing is the pool's. */
function limit<Off extends number | undefined, Default>(
  value: unknown,
  name: string,
  off: Off,
  fallback: Default,
): number | Off | Default {
  if (value === undefined || value === null) return fallback;
  if (typeof value !== "number" || !Number.isFinite(value) || value < 0) {
    throw new errors.InvalidArgumentError(`invalid ${name}`);
  }
  return value === 0 ? off : Math.min(value, LONGEST_DELAY_MS);
}

/** The Node stream among the bodies: its owner expects that it is closed, and with the reason. */
export function sourceOf({ body }: DispatchOptions): Readable | undefined {
  if (body instanceof Readable) return body;
  if (typeof body !== "object" || body === null || isFormData(body)) return undefined;
  return isOldStream(body) ? modern(body) : undefined;
}

/** As undici takes them: a string brings no content-type, an object is no JSON, and any iterable is a source of chunks. */
function bodyOf(body: unknown, source: Readable | undefined): HttpBodyValue {
  // Read, and not closed by the request itself, which would know no reason.
  if (source !== undefined) return { [Symbol.asyncIterator]: () => source.iterator({ destroyOnReturn: false }) };
  if (body === undefined || body === null || body === "") return null;
  if (typeof body === "string") return Buffer.from(body);
  // Sent as it is, it would be an empty body.
  if (isGone(body)) throw new errors.InvalidArgumentError(new BytesGoneError().message);
  if (ArrayBuffer.isView(body)) {
    return body.byteLength === 0 ? null : new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
  }
  if (body instanceof ArrayBuffer) return body.byteLength === 0 ? null : body;
  if (typeof body === "object") {
    if (body instanceof Blob || isFormData(body) || Symbol.asyncIterator in body) return body;
    if (Symbol.iterator in body) return each(body as Iterable<Uint8Array | string>);
  }
  const allowed = "a string, a Buffer, a Blob, a FormData, a Readable stream, an iterable, or an async iterable";
  throw new errors.InvalidArgumentError(`body must be ${allowed}, got ${describeValue(body)}`);
}

async function* each(chunks: Iterable<Uint8Array | string>): AsyncGenerator<Uint8Array | string> {
  yield* chunks;
}
