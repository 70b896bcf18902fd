/**
 * W3C Trace Context, https://www.w3.org/TR/trace-context/: the `traceparent` header, under the names that
 * OpenTelemetry gives its parts in logs.
 */
import { randomBytes } from "node:crypto";

/** The ids that tie a line to a trace (W3C Trace Context, OpenTelemetry). */
export interface TraceContext {
  /** 16 bytes in lower-case hex. */
  readonly trace_id?: string | undefined;
  /** 8 bytes in lower-case hex. */
  readonly span_id?: string | undefined;
  /** One byte in lower-case hex; `01` is set where the trace is sampled. */
  readonly trace_flags?: string | undefined;
  /** What vendors of tracing pass along. */
  readonly tracestate?: string | undefined;
}

/** A whole one. */
export interface SpanContext extends TraceContext {
  readonly trace_id: string;
  readonly span_id: string;
  readonly trace_flags: string;
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/s;
const TRACE_ID = /^(?!0{32})[0-9a-f]{32}$/;
const SPAN_ID = /^(?!0{16})[0-9a-f]{16}$/;
const FLAGS = /^[0-9a-f]{2}$/;
const NOT_SAMPLED = "00";
const SAMPLED_BIT = 1;
/** Sampled, and random (level 2 of the specification); the others are reserved, and sent as zero. */
const KNOWN_BITS = 3;

/**
 * The parts of a `traceparent` header, or null for one that the specification calls invalid: another layout or length,
 * upper case, ids of zeros only, version `ff`, more than one header. Of a version later than `00` it takes what that
 * version must share with it, and only the sampled bit of the flags. Never throws.
 *
 * @param header as Node has it: `request.headers.traceparent`
 * @param tracestate the header of that name, passed along as it is; several are joined by commas
 */
export function fromTraceparent(
  header: string | readonly string[] | null | undefined,
  tracestate?: string | readonly string[] | null,
): SpanContext | null {
  const [text, ...others] = textsOf(header);
  if (text === undefined || others.length > 0) return null;
  const parts = TRACEPARENT.exec(text);
  if (parts === null) return null;
  const [, version = "", trace_id = "", span_id = "", flags = "", rest] = parts;
  if (version === "ff" || (version === "00" && rest !== undefined)) return null;
  if (!TRACE_ID.test(trace_id) || !SPAN_ID.test(span_id)) return null;
  const trace_flags = version === "00" ? flags : hexByte(Number.parseInt(flags, 16) & SAMPLED_BIT);
  const state = textsOf(tracestate).join(",");
  return { trace_id, span_id, trace_flags, ...(state === "" ? {} : { tracestate: state }) };
}

/**
 * The `traceparent` header, version `00`, of a context with a valid `trace_id` and `span_id`; else null. Flags that are
 * missing or no flags are `00`, and of others the bits that the specification does not define are zero. Never throws.
 */
export function toTraceparent(context: TraceContext | null | undefined): string | null {
  try {
    const { trace_id, span_id, trace_flags } = context ?? {};
    if (!matches(TRACE_ID, trace_id) || !matches(SPAN_ID, span_id)) return null;
    const bits = matches(FLAGS, trace_flags) ? Number.parseInt(trace_flags, 16) & KNOWN_BITS : 0;
    return `00-${trace_id}-${span_id}-${hexByte(bits)}`;
  } catch {
    return null;
  }
}

/**
 * A new span: in the trace of `parent`, with its flags and tracestate, if that has a valid `trace_id`; else in a new
 * trace, which is not sampled (`00`), as nobody has recorded it. The ids are random. Never throws.
 */
export function newTraceContext(parent?: TraceContext | null): SpanContext {
  const span_id = randomId(8, SPAN_ID);
  try {
    const { trace_id, trace_flags, tracestate } = parent ?? {};
    if (matches(TRACE_ID, trace_id)) {
      const flags = matches(FLAGS, trace_flags) ? trace_flags : NOT_SAMPLED;
      return { trace_id, span_id, trace_flags: flags, ...(typeof tracestate === "string" ? { tracestate } : {}) };
    }
  } catch {
    // A parent that can't be read is none.
  }
  return { trace_id: randomId(16, TRACE_ID), span_id, trace_flags: NOT_SAMPLED };
}

function matches(pattern: RegExp, value: unknown): value is string {
  return typeof value === "string" && pattern.test(value);
}

function textsOf(header: unknown): string[] {
  if (typeof header === "string") return [header];
  try {
    if (Array.isArray(header)) return header.filter((each): each is string => typeof each === "string");
  } catch {
    // A revoked proxy.
  }
  return [];
}

function hexByte(bits: number): string {
  return bits.toString(16).padStart(2, "0");
}

function randomId(bytes: number, valid: RegExp): string {
  let id: string;
  do id = randomBytes(bytes).toString("hex");
  while (!valid.test(id));
  return id;
}
