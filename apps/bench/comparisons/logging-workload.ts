/** What the logging comparison writes, and what must come out of every logger. */

const KINDS = ["flat", "nested", "child", "off"] as const;
export type LineKind = (typeof KINDS)[number];

export function lineKind(value: unknown): LineKind {
  const kind = KINDS.find((known) => known === value);
  if (kind === undefined) throw new TypeError(`no kind of line ${String(value)}`);
  return kind;
}

/** How many lines are read back before the rounds. */
export const VERIFIED_LINES = 1000;

export const MESSAGE = "Request processed";

/** The bindings of the child logger. */
export const BINDINGS = { service: "localai", trace_id: "4bf92f3577b34da6a3ce929d0e0e4736" };

/** The fields of the i-th line. Made for each line, as a program makes them. */
export function fieldsOf(kind: LineKind, i: number): Record<string, unknown> {
  if (kind === "nested") {
    return {
      user_id: "user_123",
      latency_ms: i % 1000,
      usage: { prompt_tokens: 40, completion_tokens: i % 512 },
      tags: ["sql", "agent"],
    };
  }
  return { user_id: "user_123", latency_ms: i % 1000, cache_hit: (i & 1) === 0 };
}

/** A line as everybody must have written it, whatever the loggers call their own keys. */
export interface CanonicalLine {
  level: string;
  message: string;
  hasTime: boolean;
  fields: Record<string, unknown>;
}

const PINO_LEVELS: Record<number, string> = { 20: "debug", 30: "info", 40: "warn", 50: "error" };

export function canonicalLine(line: string): CanonicalLine {
  const document: Record<string, unknown> = JSON.parse(line);
  const { level, time, msg, message, pid: _pid, hostname: _hostname, ...fields } = document;
  const millis = typeof time === "number" ? time : Date.parse(String(time));
  return {
    level: typeof level === "number" ? (PINO_LEVELS[level] ?? String(level)) : String(level),
    message: String(msg ?? message),
    hasTime: Math.abs(Date.now() - millis) < 60_000,
    fields,
  };
}

export function expectedLines(kind: LineKind, count: number): CanonicalLine[] {
  if (kind === "off") return [];
  return Array.from({ length: count }, (_, i) => ({
    level: "info",
    message: MESSAGE,
    hasTime: true,
    fields: { ...(kind === "child" ? BINDINGS : {}), ...fieldsOf(kind, i) },
  }));
}
