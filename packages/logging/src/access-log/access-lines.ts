import { randomUUID } from "node:crypto";
import { currentContext, runInContext } from "../context/ambient.ts";
import { internalsOf, type LoggerInternals } from "../internals.ts";
import { LEVEL_NUMBERS } from "../levels.ts";
import type { Form } from "../line/form.ts";
import type { Logger } from "../logger.ts";
import type { Exchange } from "./exchange.ts";
import { type AccessLogSettings, isLevel, levelByStatus } from "./options.ts";
import { runInRequest } from "./request-context.ts";
import { harmlessId } from "./request-id.ts";
import { cut, QueryScrubber, scrubbedCut } from "./target.ts";

export type Headers = Readonly<Record<string, string | string[] | undefined>>;

const MESSAGE = "http_request";
/** What a line says, in its order; `#values` gives the values. */
const FIELDS = (
  "method path status_code latency_ms route query ttfb_ms request_bytes response_bytes aborted upgrade client_address " +
  "user_agent http_version request_headers response_headers"
).split(" ");
const LONGEST_USER_AGENT = 256;
const LONGEST_HEADER = 1024;
/** Of a query; what is shown is shorter. */
const LONGEST_QUERY = 65_536;

/** What all exchanges of one access log share: how they are logged, and how many there were. */
export class AccessLines {
  readonly settings: AccessLogSettings;
  readonly logger: Logger;
  readonly #internals: LoggerInternals | undefined;
  readonly #form: Form | undefined;
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
    this.#form = this.#internals?.form(FIELDS);
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
    // One that threw has been complained of.
    if (level !== undefined && !isLevel(level)) this.#complain("level", "gave no level");
    const word = isLevel(level) ? level : levelByStatus(exchange);
    if (word === "silent" || !this.logger.isLevelEnabled(word)) return;
    const extra = settings.fields === undefined ? undefined : this.ask("fields", settings.fields, exchange);
    const more = typeof extra === "object" && extra !== null ? extra : undefined;
    const values = this.#values(exchange);
    if (this.#internals !== undefined && this.#form !== undefined) {
      // The ids come from the context, as in every other line of the request.
      const { event } = this.#internals;
      const said = this.#form.fill(values);
      const number = LEVEL_NUMBERS[word];
      const isInside = currentContext()?.["request_id"] === exchange.requestId;
      if (isInside) event(number, MESSAGE, exchange.error, said, more);
      else if (exchange.context !== undefined) {
        runInContext(exchange.context, event, number, MESSAGE, exchange.error, said, more);
      } else runInRequest(exchange.ids, event, number, MESSAGE, exchange.error, said, more);
      return;
    }
    const named = FIELDS.map((name, i) => [name, values[i]] as const).filter(([, value]) => value !== undefined);
    const said = { ...Object.fromEntries(named), ...exchange.ids };
    try {
      if (exchange.error === undefined) this.logger[word](MESSAGE, { ...more, ...said });
      else this.logger[word](MESSAGE, exchange.error, { ...more, ...said });
    } catch {
      // A logger of another make may throw. There is no better place to say so, and nobody who awaits it.
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
    // Without a caller, which would be a place in this package.
    if (this.#internals !== undefined) this.#internals.event(LEVEL_NUMBERS.warn, message, error, {}, undefined);
    else if (error === undefined) this.logger.warn(message);
    else this.logger.warn(message, error);
  }

  #values(exchange: Exchange): readonly unknown[] {
    const { settings } = this;
    const { headers } = exchange;
    const agent = settings.userAgent ? headers["user-agent"] : undefined;
    const { requestHeaders, responseHeaders } = settings;
    return [
      exchange.method,
      this.#cut(exchange.path, settings.maxPathLength),
      exchange.statusCode,
      exchange.latencyMs,
      exchange.route,
      this.#query(exchange.query),
      exchange.ttfbMs,
      exchange.requestBytes,
      exchange.responseBytes,
      exchange.aborted ? true : undefined,
      exchange.upgrade,
      exchange.clientAddress,
      typeof agent === "string" ? this.#cut(agent, LONGEST_USER_AGENT) : undefined,
      exchange.httpVersion,
      requestHeaders.length === 0 ? undefined : this.#pick(requestHeaders, (name) => headers[name]),
      responseHeaders.length === 0 ? undefined : this.#pick(responseHeaders, (name) => exchange.responseHeader(name)),
    ];
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
