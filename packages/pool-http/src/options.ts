import type { LookupFunction } from "node:net";
import { checkOptions, describeValue, monotonicClock } from "@vg/internal";
import { HttpPoolConfigError } from "./errors.ts";
import { normalizeHeaders, type HttpHeadersInit } from "./exchange/headers.ts";
import type { RetryBudgetSettings } from "./exchange/retry-budget.ts";
import { harmless } from "./logger.ts";
import { resolveTls, type HttpTlsOptions, type ResolvedTls } from "./tls-options.ts";
import { DIRECTLY, parseProxy, proxyFromEnvironment, type ProxyRule } from "./transport/proxy.ts";

/** Milliseconds from an arbitrary start; must not go back. */
export interface Clock {
  now(): number;
}

/** What the pool needs of a logger; pino and @vg/logging have it. */
export interface Logger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface HttpPoolOptions {
  /** Shows in errors and logs. Default "http". */
  name?: string | undefined;
  /** Idle connections kept in all, 0 or more; beyond it the one that was idle longest goes. Default 100. */
  maxIdleConns?: number | undefined;
  /** Idle connections kept for one origin, 0 or more. Default 10. */
  maxIdleConnsPerHost?: number | undefined;
  /** Open connections to one origin, dialling ones included, 1 or more. Further requests wait in order. Default 20. */
  maxConnsPerHost?: number | undefined;
  /** Open connections in all, 1 or more. Default: no limit. */
  maxTotalConns?: number | undefined;
  /** How long an idle connection is kept, in ms from 1. A server's shorter Keep-Alive hint wins. Default 90 000. */
  idleConnTimeoutMs?: number | undefined;
  /**
   * The longest life of a connection in ms from 1, less up to a tenth at random so that those made together don't end
   * together. An idle one is closed when its time has come, another one after its request; so DNS changes and new
   * servers behind a balancer are found. Default: no limit.
   */
  maxConnLifetimeMs?: number | undefined;
  /**
   * The deadline of a whole request in ms, from 1: queue, DNS, connect, TLS, every attempt, backoff and body. A stream
   * has to deliver its first body byte within it. Default 30 000.
   */
  timeoutMs?: number | undefined;
  /** The longest that one attempt may take, so that a retry has time left. Default: `timeoutMs`. */
  attemptTimeoutMs?: number | undefined;
  /** DNS and TCP connect, ms from 1. Default 30 000. */
  connectTimeoutMs?: number | undefined;
  /** The TLS handshake, ms from 1. Default 10 000. */
  tlsHandshakeTimeoutMs?: number | undefined;
  /** The longest wait for a free connection. Default: `timeoutMs`. */
  queueTimeoutMs?: number | undefined;
  /** Requests that may wait for a connection to one origin, 0 or more. Default 10 000. */
  maxQueue?: number | undefined;
  /** Streams only: the longest silence between two chunks while the reader wants more. Default 60 000. */
  bodyGapTimeoutMs?: number | undefined;
  /** Streams only: the longest time from headers to the last byte, a slow reader's included. Default 600 000. */
  bodyTimeoutMs?: number | undefined;
  /**
   * A streamed response that nobody reads for longer is reported to the logger and to diagnostics_channel, once, with
   * the place of the call. ms, 0 is off. Costs some microseconds for each streamed request. Default 0.
   */
  leakThresholdMs?: number | undefined;
  /** TCP keep-alive probes after this much silence; 0 is off. Default 30 000. */
  keepAliveMs?: number | undefined;
  /** Close every connection after one request. Default false. */
  disableKeepAlives?: boolean | undefined;
  /** Neither ask for nor undo gzip, deflate, br and zstd. Default false. */
  disableCompression?: boolean | undefined;
  /** Retries after the first attempt, 0 or more. Default 3. */
  maxRetries?: number | undefined;
  /** The first backoff is a random part of this, the next of twice this, and so on; ms, 0 or more. Default 1000. */
  retryBaseMs?: number | undefined;
  /** Backoff never exceeds this, `Retry-After` apart; at least `retryBaseMs`. Default 30 000. */
  retryCapMs?: number | undefined;
  /**
   * How many retries one origin gets: this share of the requests made to it in the last 10 s, and so many a second on
   * top. Beyond it a request ends with the response or error that it has. `false` is no limit. Default
   * { ratio: 0.2, minPerSecond: 10 }.
   */
  retryBudget?: HttpRetryBudget | false | undefined;
  /** See {@link HttpRetryOn}. Default "safe". */
  retryOn?: HttpRetryOn | undefined;
  /** Redirects followed, 0 (hand out the 3xx) or more. Default 10. */
  maxRedirects?: number | undefined;
  /** The largest buffered body, on the wire and inflated, in bytes from 1. Default 104 857 600 (100 MiB). */
  maxResponseBytes?: number | undefined;
  /** The largest response header block in bytes, from 1024. Default 65 536. */
  maxHeaderBytes?: number | undefined;
  tls?: HttpTlsOptions | undefined;
  /** See {@link HttpVersionMode}. Default "off". */
  http2?: HttpVersionMode | undefined;
  /** HTTP/2: requests at once on one connection, 1 to 1000, even where the server allows more. Default 100. */
  maxStreamsPerConn?: number | undefined;
  /**
   * "environment": HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, in either case, as they are when the pool is made; the
   * own machine is always reached directly. A URL, with user and password where it needs them: everything goes through
   * it. false: nothing does. Default "environment".
   */
  proxy?: "environment" | (string & {}) | URL | false | undefined;
  /**
   * Every URL is taken below this one: "models" and "/models" with "https://api.example.com/v1" are
   * "https://api.example.com/v1/models". Nothing leaves it: not an absolute URL, not "..", not a redirect.
   */
  baseUrl?: string | URL | undefined;
  /**
   * Sent with every request, unless the request names the same header. A function is asked for them at each request, in
   * the caller's `AsyncLocalStorage` context, such as for a `traceparent`; what it throws fails the request.
   */
  headers?: HttpHeadersInit | (() => HttpHeadersInit | undefined) | undefined;
  /** Default "vg-pool-http". */
  userAgent?: string | undefined;
  logger?: Logger | undefined;
  /** Default: the monotonic clock of the process. */
  clock?: Clock | undefined;
  /** A number from 0 up to 1, for jitter. Default Math.random. */
  random?: (() => number) | undefined;
  /** Resolves host names, with the signature of dns.lookup, which is the default. */
  lookup?: LookupFunction | undefined;
}

export interface HttpRetryBudget {
  /** Retries for each request, 0 to 100. Default 0.2. */
  ratio?: number | undefined;
  /** Retries a second, 0 to 1 000 000. Default 10. */
  minPerSecond?: number | undefined;
}

/**
 * Which failures are retried.
 * - "safe": GET, HEAD, OPTIONS, PUT, DELETE, TRACE and requests with an Idempotency-Key, on 408 425 429 500 502 503 504
 *   and on network failures; any other method only where the request provably never left.
 * - "rejected": also any method on 429 and 503, for servers that answer so before they act.
 * A body that can be read only once is never sent twice.
 */
export type HttpRetryOn = "safe" | "rejected";

/**
 * Which HTTP is spoken.
 * - "off": HTTP/1.1.
 * - "auto": over TLS, HTTP/2 where the server chooses it (ALPN), otherwise HTTP/1.1.
 * - "on": HTTP/2 only, over TLS by ALPN and without TLS by prior knowledge (h2c).
 */
export type HttpVersionMode = "off" | "auto" | "on";

export interface ResolvedOptions {
  readonly name: string;
  readonly maxIdleConns: number;
  readonly maxIdleConnsPerHost: number;
  readonly maxConnsPerHost: number;
  readonly maxTotalConns: number;
  readonly idleConnTimeoutMs: number;
  readonly maxConnLifetimeMs: number | undefined;
  readonly timeoutMs: number;
  readonly attemptTimeoutMs: number | undefined;
  readonly connectTimeoutMs: number;
  readonly tlsHandshakeTimeoutMs: number;
  readonly queueTimeoutMs: number | undefined;
  readonly maxQueue: number;
  readonly bodyGapTimeoutMs: number;
  readonly bodyTimeoutMs: number;
  readonly leakThresholdMs: number;
  readonly keepAliveMs: number;
  readonly disableKeepAlives: boolean;
  readonly disableCompression: boolean;
  readonly maxRetries: number;
  readonly retryBaseMs: number;
  readonly retryCapMs: number;
  readonly retryBudget: RetryBudgetSettings | false;
  readonly retryOn: HttpRetryOn;
  readonly maxRedirects: number;
  readonly maxResponseBytes: number;
  readonly maxHeaderBytes: number;
  readonly tls: ResolvedTls;
  readonly http2: HttpVersionMode;
  readonly maxStreamsPerConn: number;
  readonly proxy: ProxyRule;
  readonly baseUrl: URL | undefined;
  /** Those for a request that is made now. */
  readonly headers: Readonly<Record<string, string | string[]>>;
  readonly logger: Logger | undefined;
  readonly clock: Clock;
  readonly random: () => number;
  readonly lookup: LookupFunction | undefined;
}

const OWNER = "HttpPool";
const NO_DEADLINE = "A request without a deadline waits for ever on a silent server; give a large number instead.";

/** Checks the options and fills in the defaults; throws HttpPoolConfigError. */
export function resolveOptions(options: HttpPoolOptions): ResolvedOptions {
  const fail = (message: string): Error => new HttpPoolConfigError(message);
  const check = checkOptions(OWNER, options, fail);
  const optionalMs = (name: string): number | undefined =>
    check.raw(name) === undefined ? undefined : check.durationMs(name, { fallback: 0, min: 1 });

  const retryBaseMs = check.durationMs("retryBaseMs", { fallback: 1000 });
  const maxConnsPerHost = check.integer("maxConnsPerHost", { fallback: 20, min: 1, max: 65_535 });
  const timeoutMs = check.durationMs("timeoutMs", { fallback: 30_000, min: 1, hint: NO_DEADLINE });
  const attemptTimeoutMs = optionalMs("attemptTimeoutMs");
  const queueTimeoutMs = optionalMs("queueTimeoutMs");
  const logger = check.objectWith<Logger>("logger", ["debug", "info", "warn", "error"]);
  const headersNow = resolveHeaders(
    check.raw("headers"),
    check.string("userAgent", { fallback: "vg-pool-http" }),
    // Without the value, which may be a secret.
    (rule) => fail(`${OWNER}: headers must be ${rule}.`),
  );
  const resolved: ResolvedOptions = {
    name: check.string("name", { fallback: "http" }),
    maxIdleConns: check.integer("maxIdleConns", { fallback: 100 }),
    maxIdleConnsPerHost: check.integer("maxIdleConnsPerHost", { fallback: 10 }),
    maxConnsPerHost,
    maxTotalConns: check.integer("maxTotalConns", { fallback: Number.MAX_SAFE_INTEGER, min: 1 }),
    idleConnTimeoutMs: check.durationMs("idleConnTimeoutMs", {
      fallback: 90_000,
      min: 1,
      hint: "Use disableKeepAlives to keep no connection.",
    }),
    maxConnLifetimeMs: optionalMs("maxConnLifetimeMs"),
    timeoutMs,
    attemptTimeoutMs,
    connectTimeoutMs: check.durationMs("connectTimeoutMs", { fallback: 30_000, min: 1 }),
    tlsHandshakeTimeoutMs: check.durationMs("tlsHandshakeTimeoutMs", { fallback: 10_000, min: 1 }),
    queueTimeoutMs,
    maxQueue: check.integer("maxQueue", { fallback: 10_000 }),
    bodyGapTimeoutMs: check.durationMs("bodyGapTimeoutMs", { fallback: 60_000, min: 1 }),
    bodyTimeoutMs: check.durationMs("bodyTimeoutMs", { fallback: 600_000, min: 1 }),
    leakThresholdMs: check.durationMs("leakThresholdMs", { fallback: 0 }),
    keepAliveMs: check.durationMs("keepAliveMs", { fallback: 30_000 }),
    disableKeepAlives: check.boolean("disableKeepAlives", { fallback: false }),
    disableCompression: check.boolean("disableCompression", { fallback: false }),
    maxRetries: check.integer("maxRetries", { fallback: 3, max: 100 }),
    retryBaseMs,
    retryCapMs: check.durationMs("retryCapMs", {
      fallback: Math.max(30_000, retryBaseMs),
      min: retryBaseMs,
      hint: `It cannot be below retryBaseMs (${retryBaseMs}).`,
    }),
    retryBudget: resolveRetryBudget(check.raw("retryBudget"), fail),
    retryOn: check.oneOf("retryOn", ["safe", "rejected"], { fallback: "safe" }),
    maxRedirects: check.integer("maxRedirects", { fallback: 10, max: 100 }),
    maxResponseBytes: check.integer("maxResponseBytes", { fallback: 100 * 1024 * 1024, min: 1 }),
    maxHeaderBytes: check.integer("maxHeaderBytes", { fallback: 65_536, min: 1024, max: 16 * 1024 * 1024 }),
    tls: resolveTls(check.raw("tls"), `${OWNER} tls`),
    http2: check.oneOf("http2", ["off", "auto", "on"], { fallback: "off" }),
    maxStreamsPerConn: check.integer("maxStreamsPerConn", { fallback: 100, min: 1, max: 1000 }),
    proxy: resolveProxy(check.raw("proxy"), fail),
    baseUrl: resolveBaseUrl(check.raw("baseUrl"), fail),
    get headers() {
      return headersNow();
    },
    logger: logger === undefined ? undefined : harmless(logger),
    clock: check.objectWith<Clock>("clock", ["now"]) ?? monotonicClock,
    random: check.function<() => number>("random") ?? Math.random,
    lookup: check.function<LookupFunction>("lookup"),
  };
  check.noOthers();
  if (resolved.maxTotalConns < maxConnsPerHost && options.maxConnsPerHost !== undefined) {
    throw check.refuse(
      "maxTotalConns",
      `at least maxConnsPerHost (${maxConnsPerHost})`,
      "Raise it or lower the other.",
    );
  }
  const { maxIdleConns, maxIdleConnsPerHost, maxTotalConns } = resolved;
  if (options.maxIdleConns !== undefined && maxIdleConns > maxTotalConns) {
    throw check.refuse("maxIdleConns", `at most maxTotalConns (${maxTotalConns})`, "So many are never open.");
  }
  if (options.maxIdleConnsPerHost !== undefined && maxIdleConnsPerHost > Math.min(maxConnsPerHost, maxTotalConns)) {
    const least = maxTotalConns < maxConnsPerHost ? "maxTotalConns" : "maxConnsPerHost";
    const most = Math.min(maxConnsPerHost, maxTotalConns);
    throw check.refuse("maxIdleConnsPerHost", `at most ${least} (${most})`, "Lower it, or raise the other.");
  }
  if (attemptTimeoutMs !== undefined && attemptTimeoutMs > timeoutMs) {
    throw check.refuse("attemptTimeoutMs", `at most timeoutMs (${timeoutMs})`, "The deadline would always come first.");
  }
  if (queueTimeoutMs !== undefined && queueTimeoutMs > timeoutMs) {
    throw check.refuse("queueTimeoutMs", `at most timeoutMs (${timeoutMs})`, "The deadline would always come first.");
  }
  return resolved;
}

function resolveRetryBudget(value: unknown, fail: (message: string) => Error): RetryBudgetSettings | false {
  if (value === false) return false;
  if (value !== undefined && (typeof value !== "object" || value === null)) {
    throw fail(`${OWNER}: retryBudget must be { ratio, minPerSecond } or false, got ${describeValue(value)}.`);
  }
  const check = checkOptions(`${OWNER} retryBudget`, value ?? {}, fail);
  const settings: RetryBudgetSettings = {
    ratio: check.number("ratio", { fallback: 0.2, max: 100 }),
    minPerSecond: check.number("minPerSecond", { fallback: 10, max: 1_000_000 }),
  };
  check.noOthers();
  return settings;
}

function resolveProxy(value: unknown, fail: (message: string) => Error): ProxyRule {
  if (value === false) return DIRECTLY;
  if (value === undefined || value === "environment") {
    const bad = (variable: string): Error =>
      fail(
        `${OWNER}: the environment variable ${variable} must be the URL of an http or https proxy, such as "http://proxy.example:3128". Correct it, or set proxy: false.`,
      );
    return proxyFromEnvironment(process.env, bad);
  }
  const proxy = typeof value === "string" || value instanceof URL ? parseProxy(String(value)) : undefined;
  // Without the value, which may hold a password.
  if (proxy === undefined) {
    throw fail(`${OWNER}: proxy must be "environment", false, or the URL of an http or https proxy.`);
  }
  return () => proxy;
}

function resolveBaseUrl(value: unknown, fail: (message: string) => Error): URL | undefined {
  if (value === undefined) return undefined;
  const url =
    (typeof value === "string" || value instanceof URL) && URL.canParse(String(value)) ? new URL(value) : undefined;
  if (url === undefined || (url.protocol !== "http:" && url.protocol !== "https:")) {
    throw fail(`${OWNER}: baseUrl must be an absolute http or https URL, such as "https://api.example.com/v1".`);
  }
  if (url.search !== "" || url.hash !== "") {
    throw fail(`${OWNER}: baseUrl must have no query and no fragment. Put them on each request.`);
  }
  // The trailing slash makes it a folder, for resolving below it and for telling what is inside.
  if (!url.pathname.endsWith("/")) url.pathname += "/";
  return url;
}

function resolveHeaders(
  value: unknown,
  userAgent: string,
  refuse: (rule: string) => Error,
): () => Record<string, string | string[]> {
  try {
    const own = normalizeHeaders({ "user-agent": userAgent });
    if (typeof value === "function") {
      const ask = value as () => HttpHeadersInit | undefined;
      return () => ({ ...own, ...normalizeHeaders(ask() ?? {}) });
    }
    const all = { ...own, ...normalizeHeaders((value ?? {}) as HttpHeadersInit) };
    return () => all;
  } catch (error) {
    throw refuse(`valid HTTP headers (${(error as Error).message})`);
  }
}
