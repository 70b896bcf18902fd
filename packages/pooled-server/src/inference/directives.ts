/**
 * What a request says about caching: the directives of `Cache-Control` (RFC 9111, 5.2.1), the `cache` object that
 * LiteLLM's clients send in the body, and Cloudflare AI Gateway's two headers.
 */
import { InferenceRequestError } from "./inference-error.ts";
import { isObject, type JsonObject } from "./json.ts";

export interface InferenceDirectives {
  /** Do not store the answer. */
  noStore?: boolean | undefined;
  /** Do not answer from the cache; store the new answer. */
  noCache?: boolean | undefined;
  /** Answer from the cache or not at all (504). */
  onlyIfCached?: boolean | undefined;
  /** Take a stored answer only up to this age, in seconds. */
  maxAgeSeconds?: number | undefined;
  /** Take a stored answer only if it lives on for so many seconds. */
  minFreshSeconds?: number | undefined;
  /** How long this answer may be stored, in seconds. */
  ttlSeconds?: number | undefined;
  /** Have this request cached whatever the mode: its sender knows that one answer is as good as another. */
  useCache?: boolean | undefined;
  /** A division of the cache that only requests with the same word share. */
  namespace?: string | undefined;
}

/** A header by its lower-case name. */
export type HeaderReader = (name: string) => string | undefined;

const LONGEST_SECONDS = 365 * 86_400;

/** Reads the headers' directives. What cannot be understood is left out, as RFC 9111 has it. */
export function directivesFromHeaders(header: HeaderReader): InferenceDirectives {
  const directives: InferenceDirectives = {};
  const control = header("cache-control");
  if (control !== undefined) readCacheControl(control, directives);
  else if (header("pragma")?.toLowerCase().includes("no-cache") === true) directives.noCache = true;
  if (header("cf-aig-skip-cache")?.toLowerCase() === "true") {
    directives.noCache = true;
    directives.noStore = true;
  }
  const ttl = seconds(header("cf-aig-cache-ttl"));
  if (ttl !== undefined) {
    directives.ttlSeconds = ttl;
    directives.useCache = true;
  }
  return directives;
}

function readCacheControl(text: string, directives: InferenceDirectives): void {
  for (const part of text.split(",")) {
    const [name = "", value] = part.split("=", 2).map((half) => half.trim());
    switch (name.toLowerCase()) {
      case "no-store":
        directives.noStore = true;
        break;
      case "no-cache":
        directives.noCache = true;
        break;
      case "only-if-cached":
        directives.onlyIfCached = true;
        break;
      case "max-age":
        directives.maxAgeSeconds = seconds(value);
        break;
      case "min-fresh":
        directives.minFreshSeconds = seconds(value);
        break;
      default:
    }
  }
}

function seconds(text: string | undefined): number | undefined {
  const digits = /^"?(\d{1,10})"?$/.exec(text?.trim() ?? "")?.[1];
  return digits === undefined ? undefined : Math.min(Number(digits), LONGEST_SECONDS);
}

/**
 * Reads the body's `cache`: { ttl, "s-maxage", "no-cache", "no-store", "use-cache", namespace }, times in seconds.
 *
 * @throws InferenceRequestError for a value of another kind, naming it; fields that are not known are left out
 */
export function directivesFromBody(body: JsonObject): InferenceDirectives {
  const cache = body["cache"];
  if (cache === undefined || cache === null) return {};
  if (!isObject(cache)) throw invalid("cache", "an object");
  const ttlSeconds = number(cache, "ttl");
  const useCache = flag(cache, "use-cache");
  return {
    noStore: flag(cache, "no-store"),
    noCache: flag(cache, "no-cache"),
    maxAgeSeconds: number(cache, "s-maxage") ?? number(cache, "s-max-age"),
    ttlSeconds,
    // Who says how long it may be stored wants it stored.
    useCache: useCache ?? (ttlSeconds === undefined ? undefined : true),
    namespace: word(cache, "namespace"),
  };
}

/** Both together: whatever either of them forbids is forbidden, and the body has the last word on figures. */
export function mergeDirectives(headers: InferenceDirectives, body: InferenceDirectives): InferenceDirectives {
  return {
    noStore: headers.noStore === true || body.noStore === true,
    noCache: headers.noCache === true || body.noCache === true,
    onlyIfCached: headers.onlyIfCached === true || body.onlyIfCached === true,
    maxAgeSeconds: least(headers.maxAgeSeconds, body.maxAgeSeconds),
    minFreshSeconds: headers.minFreshSeconds ?? body.minFreshSeconds,
    ttlSeconds: body.ttlSeconds ?? headers.ttlSeconds,
    useCache: body.useCache ?? headers.useCache,
    namespace: body.namespace ?? headers.namespace,
  };
}

function least(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined) return b;
  return b === undefined ? a : Math.min(a, b);
}

function invalid(name: string, rule: string): InferenceRequestError {
  return new InferenceRequestError(`${name} must be ${rule}.`, { param: name });
}

function flag(cache: JsonObject, name: string): boolean | undefined {
  const value = cache[name] ?? undefined;
  if (value === undefined || typeof value === "boolean") return value;
  throw invalid(`cache.${name}`, "true or false");
}

function number(cache: JsonObject, name: string): number | undefined {
  const value = cache[name] ?? undefined;
  if (value === undefined) return undefined;
  if (typeof value === "number" && value >= 0 && value <= LONGEST_SECONDS) return value;
  throw invalid(`cache.${name}`, `a number of seconds from 0 to ${LONGEST_SECONDS}`);
}

function word(cache: JsonObject, name: string): string | undefined {
  const value = cache[name] ?? undefined;
  if (value === undefined || (typeof value === "string" && value.length <= 256)) return value;
  throw invalid(`cache.${name}`, "a string of at most 256 characters");
}
