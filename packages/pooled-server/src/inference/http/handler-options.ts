import { checkOptions, describeValue } from "@vg/internal";
import type { IncomingMessage } from "node:http";
import { PooledServerConfigError } from "../../errors.ts";
import type { ForwardCall } from "../inference-request.ts";
import type { HeaderReader } from "../directives.ts";
import type { JsonObject } from "../json.ts";
import type { Forwarded } from "../upstream-pieces.ts";

/** How one endpoint is served. */
export interface HandlerOptions {
  /** Names the endpoint in the key; two routes never share an answer. Default: the request's path and query. */
  route?: string;
  /**
   * Whose request it is: a credential or a name. `undefined` is nobody's, and shares answers with everybody who is nobody.
   * Default: all headers that commonly say who somebody is (authorization, cookie, x-api-key and the like), as they are,
   * and the name by which the service was called (`host`).
   */
  tenantOf?: (request: IncomingMessage | Request) => string | undefined;
  /** The model that a body comes down to, where its `model` is an alias. Goes into the key and to `forward`. */
  resolveModel?: (body: JsonObject) => string;
  /** Headers that the answer depends on, by their lower-case names; default none. */
  vary?: readonly string[];
  /** The largest body that is read, in bytes; default 10 MiB. Larger ones are answered with 413. */
  maxBodyBytes?: number;
}

/** What the `forward` of a handler is given: the call, and the headers of the request that leads. */
export interface HttpForwardCall extends ForwardCall {
  /** A header of the request by its lower-case name. What the answer depends on belongs into `vary`. */
  header(name: string): string | undefined;
}

/** Makes the expensive call for an endpoint. */
export type HttpForward = (call: HttpForwardCall) => Promise<Forwarded> | Forwarded;

export interface HandlerSettings {
  readonly route: string | undefined;
  readonly tenantOf: NonNullable<HandlerOptions["tenantOf"]> | undefined;
  readonly resolveModel: NonNullable<HandlerOptions["resolveModel"]> | undefined;
  /** Headers that are in the key besides those of the tenant. */
  readonly dependsOn: readonly string[];
  readonly maxBodyBytes: number;
}

/** Where one service has many names, these are often all that tells whose it is. */
const AUTHORITY_HEADERS = ["host", "x-forwarded-host"];

/** @throws PooledServerConfigError */
export function checkHandlerOptions(owner: string, forward: unknown, options: HandlerOptions): HandlerSettings {
  const fail = (message: string): PooledServerConfigError => new PooledServerConfigError(message);
  if (typeof forward !== "function")
    throw fail(`${owner}: the first argument must be the function that asks the model.`);
  const check = checkOptions(owner, options, fail);
  const vary = check.raw("vary") ?? [];
  if (!Array.isArray(vary) || !vary.every((name) => typeof name === "string" && name === name.toLowerCase())) {
    throw check.refuse("vary", "an array of header names in lower case");
  }
  const tenantOf = check.function<NonNullable<HandlerOptions["tenantOf"]>>("tenantOf");
  const settings: HandlerSettings = {
    route: check.string("route", { fallback: undefined }),
    tenantOf,
    resolveModel: check.function<NonNullable<HandlerOptions["resolveModel"]>>("resolveModel"),
    dependsOn: tenantOf === undefined ? [...AUTHORITY_HEADERS, ...vary] : vary,
    maxBodyBytes: check.integer("maxBodyBytes", { fallback: 10_485_760, min: 1 }),
  };
  check.noOthers();
  return settings;
}

/**
 * What a function of the service's gave, which goes into the key: a promise, say, would make one key of all.
 *
 * @throws PooledServerConfigError for anything but a text
 */
export function checkedText(option: string, value: unknown): string {
  if (typeof value === "string") return value;
  throw new PooledServerConfigError(`inference: ${option} must return a string, got ${describeValue(value)}.`);
}

/**
 * The headers by which services know their clients, or a proxy in front tells them. All of them count: one too many costs
 * a hit, one too few gives somebody a stranger's answer.
 */
const IDENTIFYING_HEADERS = [
  "authorization",
  "x-api-key",
  "api-key",
  "x-goog-api-key",
  "cookie",
  "openai-organization",
  "openai-project",
  "x-auth-token",
  "x-access-token",
  "x-user-id",
  "x-tenant-id",
  "x-org-id",
  // Of oauth2-proxy and its like, of the clouds' proxies, and of those that check certificates: what stays the same for
  // somebody, not tokens that are others with every request.
  "x-forwarded-user",
  "x-forwarded-email",
  "x-forwarded-preferred-username",
  "x-auth-request-user",
  "x-auth-request-email",
  "x-auth-request-preferred-username",
  "remote-user",
  "x-remote-user",
  "x-webauth-user",
  "x-authentik-username",
  "cf-access-authenticated-user-email",
  "x-goog-authenticated-user-id",
  "x-goog-authenticated-user-email",
  "x-amzn-oidc-identity",
  "x-ms-client-principal-id",
  "x-forwarded-client-cert",
  "x-ssl-client-s-dn",
];

export function tenantFromHeaders(header: HeaderReader): string {
  let tenant = "";
  for (const name of IDENTIFYING_HEADERS) {
    const value = header(name);
    if (value !== undefined && value !== "") tenant += JSON.stringify([name, value]);
  }
  return tenant;
}
