import { randomUUID } from "node:crypto";
import { currentContext } from "../context/ambient.ts";
import { internalsOf, type LoggerInternals } from "../internals.ts";
import { LEVEL_NUMBERS } from "../levels.ts";
import type { Logger } from "../logger.ts";
import type { Exchange } from "./exchange.ts";
import { type AccessLogSettings, isLevel, levelByStatus } from "./options.ts";
import { runInRequest } from "./request-context.ts";
import { harmlessId } from "./request-id.ts";
import { cut, QueryScrubber, scrubbedCut } from "./target.ts";

export type Headers = Readonly<Record<string, string | string[] | undefined>>;

const MESSAGE = "http_request";
const LONGEST_USER_AGENT = 256;
const LONGEST_HEADER = 1024;
/** Of a query; what is shown is shorter. */
const LONGEST_QUERY = 65_536;

/** What all exchanges of one access log share: how they are logged, and how many there were. */
export class AccessLines {
  readonly settings: AccessLogSettings;
  readonly logger: Logger;
  readonly #internals: LoggerInternals | undefined;
  readonly #queries: QueryScrubber | undefined;
  readonly #complained = new Set<string>();
  requests = 0;
  skipped = 0;
  aborted = 0;
  inFlight = 0;

  constructor(logger: Logger, settings: AccessLogSettings) {
    this.logger = logger;
    this.settings = settings;
    this.#internals = internalsOf(logger);
    const redactor = this.#internals?.redactor;
    this.#queries = redactor === undefined ? undefined : new QueryScrubber(redactor);
  }

  idOf(headers: Headers): string {
    const { requestIdHeader, generateRequestId } = this.settings;
    const given = requestIdHeader === undefined ? undefined : harmlessId(headers[requestIdHeader]);
    if (given !== undefined) return given;
    if (generateRequestId === undefined) return randomUUID();
    return harmlessId(this.ask("generateRequestId", generateRequestId, undefined)) ?? randomUUID();
  }

  wantsNone(exchange: Exchange): boolean {
    const { skip } = this.settings;
    return skip !== undefined && this.ask("skip", skip, exchange) === true;
  }

  write(exchange: Exchange): void {
    const { settings } = this;
    const level = this.ask("level", settings.level, exchange);
    const word = isLevel(level) ? level : levelByStatus(exchange);
    if (word === "silent" || !this.logger.isLevelEnabled(word)) return;
    const extra = settings.fields === undefined ? undefined : this.ask("fields", settings.fields, exchange);
    const more = typeof extra === "object" && extra !== null ? extra : undefined;
    const said = this.#fields(exchange);
    const internals = this.#internals;
    if (internals !== undefined) {
      // The ids come from the context, as in every other line of the request.
      const write = (): void => internals.event(LEVEL_NUMBERS[word], MESSAGE, exchange.error, said, more);
      if (currentContext()?.["request_id"] === exchange.ids.request_id) write();
      else runInRequest(exchange.ids, write);
      return;
    }
    Object.assign(said, exchange.ids);
    if (exchange.error === undefined) {
      this.logger[word](MESSAGE, { ...more, ...said });
    } else {
      this.logger[word](MESSAGE, exchange.error, { ...more, ...said });
    }
  }

  /** What a function of the user's says; `undefined` where it throws or gives a promise, which is logged once an option. */
  ask<A, R>(option: string, callback: (argument: A) => R, argument: A): R | undefined {
    try {
      const answer = callback(argument);
      if (!isThenable(answer)) return answer;
      // Left alone, its rejection would end the process.
      answer.then(undefined, () => undefined);
      this.#complain(option, "gave a promise, which can't be waited for");
    } catch (error) {
      this.#complain(option, "threw", error);
    }
    return undefined;
  }

  #complain(option: string, what: string, error?: unknown): void {
    if (this.#complained.has(option)) return;
    this.#complained.add(option);
    const message = `accessLog: the function of its option ${option} ${what}: requests are logged without it; this is said once`;
    if (error === undefined) this.logger.warn(message);
    else this.logger.warn(message, error);
  }

  #fields(exchange: Exchange): Record<string, unknown> {
    const { settings } = this;
    const { headers } = exchange;
    const said: Record<string, unknown> = {
      method: exchange.method,
      path: this.#cut(exchange.path, settings.maxPathLength),
      status_code: exchange.statusCode,
      latency_ms: exchange.latencyMs,
    };
    const { route } = exchange;
    if (route !== undefined) said["route"] = route;
    const query = this.#query(exchange.query);
    if (query !== undefined) said["query"] = query;
    if (exchange.ttfbMs !== undefined) said["ttfb_ms"] = exchange.ttfbMs;
    if (exchange.requestBytes !== undefined) said["request_bytes"] = exchange.requestBytes;
    if (exchange.responseBytes !== undefined) said["response_bytes"] = exchange.responseBytes;
    if (exchange.aborted) said["aborted"] = true;
    if (exchange.upgrade !== undefined) said["upgrade"] = exchange.upgrade;
    if (exchange.clientAddress !== undefined) said["client_address"] = exchange.clientAddress;
    const agent = settings.userAgent ? headers["user-agent"] : undefined;
    if (typeof agent === "string") said["user_agent"] = this.#cut(agent, LONGEST_USER_AGENT);
    if (exchange.httpVersion !== undefined) said["http_version"] = exchange.httpVersion;
    if (settings.requestHeaders.length > 0) {
      said["request_headers"] = this.#pick(settings.requestHeaders, (name) => headers[name]);
    }
    if (settings.responseHeaders.length > 0) {
      said["response_headers"] = this.#pick(settings.responseHeaders, (name) => exchange.responseHeader(name));
    }
    return said;
  }

  #query(query: string | undefined): string | undefined {
    const { query: how, maxPathLength } = this.settings;
    if (query === undefined || how === "off") return undefined;
    if (how === "full") {
      // With its `?`, by which secrets of URLs are known.
      const scrubbed = this.#internals?.redactor.scrub(
        `?${query.slice(0, LONGEST_QUERY)}`,
        query.length > LONGEST_QUERY,
      );
      return cut(scrubbed?.slice(1) ?? query, maxPathLength);
    }
    // A logger of another make can't say what it hides, so nothing is risked.
    return this.#queries?.scrub(query, maxPathLength);
  }

  #cut(text: string, maxLength: number): string {
    return scrubbedCut(text, maxLength, this.#internals?.redactor);
  }

  #pick(names: readonly string[], valueOf: (name: string) => unknown): Record<string, unknown> {
    const shown: Record<string, unknown> = {};
    for (const name of names) {
      const value = valueOf(name);
      if (value === undefined || value === null) continue;
      shown[name] = Array.isArray(value)
        ? value.map((each) => this.#cut(String(each), LONGEST_HEADER))
        : this.#cut(String(value as string | number), LONGEST_HEADER);
    }
    return shown;
  }
}

function isThenable(value: unknown): value is PromiseLike<unknown> {
  return typeof value === "object" && value !== null && typeof (value as { then?: unknown }).then === "function";
}
