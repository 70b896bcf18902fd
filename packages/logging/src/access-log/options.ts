import { types } from "node:util";
import { checkOptions, describeValue, monotonicClock } from "@vg/internal";
import type { Clock } from "../config.ts";
import { LoggerConfigError } from "../errors.ts";
import { LOG_LEVELS, type LogLevel } from "../levels.ts";
import { ClientAddresses, type ForwardedHeader } from "./client-address.ts";

/** One request and its answer, as the functions among the options get to see it. */
export interface AccessExchange {
  /** The request of node:http or http2, the same object in Express and below Fastify's; a `Request` elsewhere. */
  readonly request: object;
  /** The response likewise; `undefined` for an upgraded connection, and before there is a `Response`. */
  readonly response: object | undefined;
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  /** The template that matched, as `/users/:id`; `undefined` where none did, or before it is known. */
  readonly route: string | undefined;
  readonly requestId: string;
  /** What the line says. 0 before the end. */
  readonly statusCode: number;
  /** Milliseconds; 0 before the end. */
  readonly latencyMs: number;
  /** The answer was not sent to its end. */
  readonly aborted: boolean;
  /** What the handler threw; `undefined` if nothing. */
  readonly error: unknown;
}

export interface AccessLogOptions {
  /** The level of a line; `"silent"` writes none. Default: error from status 500, warn from 400, else info. */
  level?: ((exchange: AccessExchange) => LogLevel) | undefined;
  /** Requests that get no line, such as probes; asked when a request comes in. Default: none. */
  skip?: ((exchange: AccessExchange) => boolean) | undefined;
  /** More fields for a line; asked when it is written. One of a name that the line has is shown as `field.<name>`. */
  fields?: ((exchange: AccessExchange) => object | undefined) | undefined;
  /**
   * The query: `"scrub"` hides the values of secret names and secrets in other values, `"off"` leaves it out, `"full"`
   * only hides what the logger hides in any text. Default: `"scrub"`.
   */
  query?: "scrub" | "off" | "full" | undefined;
  /** Headers of the request to show under `request_headers`; secret ones are hidden all the same. Default: none. */
  requestHeaders?: readonly string[] | undefined;
  /** Headers of the answer to show under `response_headers`. Default: none. */
  responseHeaders?: readonly string[] | undefined;
  /** Addresses or CIDR ranges of proxies whose `forwardedHeader` is believed. Default: none. */
  trustedProxies?: readonly string[] | undefined;
  /** The header that these proxies set; clients can forge the other one. Default: `"x-forwarded-for"`. */
  forwardedHeader?: ForwardedHeader | undefined;
  /** Whether to show `client_address`. Default: true. */
  clientAddress?: boolean | undefined;
  /** Whether to show `user_agent`. Default: true. */
  userAgent?: boolean | undefined;
  /** The header that a request's id is taken from, if it is a harmless one; `false`: none. Default: `"x-request-id"`. */
  requestIdHeader?: string | false | undefined;
  /** Makes an id for a request that has none. Default: a random UUID. */
  generateRequestId?: (() => string) | undefined;
  /** Whether the answer carries the id, as `requestIdHeader` (or `x-request-id`). Default: false. */
  echoRequestId?: boolean | undefined;
  /** Characters of the path, and of the query, that are shown: 16 to 65,536. Default: 1,024. */
  maxPathLength?: number | undefined;
  /** Milliseconds that only ever grow. Default: the system's monotonic clock. */
  clock?: Clock | undefined;
}

export interface AccessLogSettings {
  readonly level: (exchange: AccessExchange) => LogLevel;
  readonly skip: ((exchange: AccessExchange) => boolean) | undefined;
  readonly fields: ((exchange: AccessExchange) => object | undefined) | undefined;
  readonly query: "scrub" | "off" | "full";
  /** In lower case. */
  readonly requestHeaders: readonly string[];
  readonly responseHeaders: readonly string[];
  readonly clients: ClientAddresses | undefined;
  readonly userAgent: boolean;
  readonly requestIdHeader: string | undefined;
  readonly generateRequestId: (() => string) | undefined;
  /** The header to echo the id in. */
  readonly echo: string | undefined;
  readonly maxPathLength: number;
  readonly clock: Clock;
}

const OWNER = "accessLog";
const HEADER_NAME = /^[\w!#$%&'*+.^`|~-]{1,128}$/;
const fail = (message: string): LoggerConfigError => new LoggerConfigError(message);

/** @throws LoggerConfigError that names the option, what it got and what is allowed */
export function resolveAccessLogOptions(options: AccessLogOptions): AccessLogSettings {
  const check = checkOptions(OWNER, options, fail);
  const requestIdHeader = checkRequestIdHeader(check.raw("requestIdHeader"));
  const trustedProxies = checkStrings("trustedProxies", check.raw("trustedProxies"), "addresses or CIDR ranges");
  const forwardedHeader = check.oneOf("forwardedHeader", ["x-forwarded-for", "forwarded"], {
    fallback: "x-forwarded-for",
  });
  const callback = <F extends (...args: never[]) => unknown>(option: string): F | undefined =>
    answersAtOnce(option, check.function<F>(option));
  const settings: AccessLogSettings = {
    level: callback("level") ?? levelByStatus,
    skip: callback("skip"),
    fields: callback("fields"),
    query: check.oneOf("query", ["scrub", "off", "full"], { fallback: "scrub" }),
    requestHeaders: checkHeaders("requestHeaders", check.raw("requestHeaders")),
    responseHeaders: checkHeaders("responseHeaders", check.raw("responseHeaders")),
    clients: check.boolean("clientAddress", { fallback: true })
      ? new ClientAddresses(trustedProxies, forwardedHeader, (problem) => fail(`${OWNER}: ${problem}`))
      : undefined,
    userAgent: check.boolean("userAgent", { fallback: true }),
    requestIdHeader,
    generateRequestId: callback("generateRequestId"),
    echo: check.boolean("echoRequestId", { fallback: false }) ? (requestIdHeader ?? "x-request-id") : undefined,
    maxPathLength: check.integer("maxPathLength", { fallback: 1024, min: 16, max: 65_536 }),
    clock: check.objectWith<Clock>("clock", ["now"], { hint: "now() gives milliseconds." }) ?? monotonicClock,
  };
  check.noOthers();
  return settings;
}

export function levelByStatus({ statusCode }: AccessExchange): LogLevel {
  return statusCode < 400 ? "info" : statusCode < 500 ? "warn" : "error";
}

export const isLevel = (value: unknown): value is LogLevel => LOG_LEVELS.includes(value as LogLevel);

function answersAtOnce<F>(option: string, callback: F | undefined): F | undefined {
  if (!types.isAsyncFunction(callback)) return callback;
  const remedy = "Look up what takes time before, and let the function only read it.";
  throw fail(`${OWNER}: ${option} must be a function that answers at once, got an async function. ${remedy}`);
}

function checkStrings(option: string, value: unknown, what: string): readonly string[] {
  if (value === undefined) return [];
  if (Array.isArray(value) && value.every((each) => typeof each === "string" && each !== "")) return [...value];
  throw fail(`${OWNER}: ${option} must be an array of ${what}, got ${describeValue(value)}.`);
}

function checkHeaders(option: string, value: unknown): readonly string[] {
  const names = checkStrings(option, value, "names of headers");
  const wrong = names.find((name) => !HEADER_NAME.test(name));
  if (wrong === undefined) return names.map((name) => name.toLowerCase());
  throw fail(`${OWNER}: ${option} has ${describeValue(wrong)}, which is no name of a header. List each by its name.`);
}

function checkRequestIdHeader(value: unknown): string | undefined {
  if (value === undefined) return "x-request-id";
  if (value === false) return undefined;
  if (typeof value === "string" && HEADER_NAME.test(value)) return value.toLowerCase();
  throw fail(`${OWNER}: requestIdHeader must be the name of a header, or false, got ${describeValue(value)}.`);
}
