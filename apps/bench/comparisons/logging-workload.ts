/** What the logging comparison writes, and what must come out of every logger. */

export const KINDS = ["flat", "nested", "child", "special", "error", "context", "off"] as const;
export type LineKind = (typeof KINDS)[number];

export function lineKind(value: unknown): LineKind {
  const kind = KINDS.find((known) => known === value);
  if (kind === undefined) throw new TypeError(`no kind of line ${String(value)}`);
  return kind;
}

/** How many lines are read back before the rounds. */
export const VERIFIED_LINES = 1000;

/** After so many lines the program returns to the event loop, as a service does, and a buffer can be written. */
export const LINES_A_TURN = 50;

export const MESSAGE = "Request processed";
export const EVENT = "http_request";
export const FAILURE = "Query failed";

/** The bindings of the child logger. */
export const BINDINGS = { service: "localai", region: "eu-west-1" };

/** The lines of one request of the case `context`: each request has a context of its own. */
export const LINES_A_REQUEST = 5;
const SPANS = Array.from({ length: 1000 }, (_, i) => (0xf067aa0ba902 + i).toString(16).padStart(16, "0"));

export interface Ids {
  trace_id: string;
  span_id: string;
}

/** What the asynchronous context of the request says that writes the i-th line. Made for each, as a service makes it. */
export function idsOf(i: number): Ids {
  const request = Math.floor(i / LINES_A_REQUEST);
  return { trace_id: "4bf92f3577b34da6a3ce929d0e0e4736", span_id: SPANS[request % SPANS.length]! };
}

/** The error of the case `error`: made once, so that no logger is charged for the capture of its stack. */
export const ERROR: Error & { code: string } = Object.assign(new TypeError("connection refused"), {
  code: "ECONNREFUSED",
});

/** The fields of the i-th line. Made for each line, as a program makes them. */
export function fieldsOf(kind: LineKind, i: number): Record<string, unknown> {
  switch (kind) {
    case "nested":
      return {
        user_id: "user_123",
        latency_ms: i % 1000,
        usage: { prompt_tokens: 40, completion_tokens: i % 512 },
        tags: ["sql", "agent"],
      };
    case "special":
      return { method: "POST", path: "/v2/chat/completions", status_code: 200, latency_ms: i % 1000 };
    case "error":
      return { query_id: i % 1000 };
    default:
      return { user_id: "user_123", latency_ms: i % 1000, cache_hit: (i & 1) === 0 };
  }
}

/** A line as everybody must have written it, whatever the loggers call their own keys. */
export interface CanonicalLine {
  level: string;
  message: string;
  hasTime: boolean;
  /** The file that is said to have called the logger; a logger says also which line, and some the folders and a function. */
  caller: string;
  fields: Record<string, unknown>;
}

const PINO_LEVELS: Record<number, string> = { 20: "debug", 30: "info", 40: "warn", 50: "error" };

export function canonicalLine(line: string): CanonicalLine {
  const document: Record<string, unknown> = JSON.parse(line);
  const { level, time, timestamp, "@timestamp": instant, msg, message, err, ...others } = document;
  const { pid: _pid, hostname: _hostname, logger: _logger, caller, ...fields } = others;
  const when = time ?? timestamp ?? instant;
  const millis = typeof when === "number" ? when : Date.parse(String(when));
  if (err !== undefined) fields["error"] = err;
  return {
    level: typeof level === "number" ? (PINO_LEVELS[level] ?? String(level)) : String(level).toLowerCase(),
    message: String(msg ?? message),
    hasTime: Math.abs(Date.now() - millis) < 60_000,
    caller: /([\w-]+\.ts):\d+/.exec(String(caller))?.[1] ?? "",
    fields,
  };
}

/** `caller` is the file that has to be in the lines; "" for none. */
export function expectedLines(kind: LineKind, count: number, caller: string): CanonicalLine[] {
  if (kind === "off") return [];
  return Array.from({ length: count }, (_, i) => ({
    level: kind === "error" ? "error" : "info",
    message: kind === "special" ? EVENT : kind === "error" ? FAILURE : MESSAGE,
    hasTime: true,
    caller,
    fields: { ...carried(kind, i), ...fieldsOf(kind, i), ...(kind === "error" ? { error: shownError() } : {}) },
  }));
}

function carried(kind: LineKind, i: number): object {
  return kind === "child" ? BINDINGS : kind === "context" ? idsOf(i) : {};
}

/** The error of the case `error`, as it has to be in a line. */
export function shownError(): Record<string, unknown> {
  const { name: type, message, stack, code } = ERROR;
  return { type, message, stack, code };
}
