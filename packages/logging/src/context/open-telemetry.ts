/**
 * The active span of OpenTelemetry's API, found where the API itself keeps what is registered with it: nothing is
 * imported, nothing is patched, and it doesn't matter which of the two was loaded first.
 */
import { Bindings, NO_BINDINGS } from "../line/bindings.ts";
import type { SpanContext } from "./trace-context.ts";

// Of the API's major version 1; both are part of what keeps its minor versions compatible.
const API = Symbol.for("opentelemetry.js.api.1");
const SPAN = Symbol.for("OpenTelemetry Context Key SPAN");

interface Api {
  readonly context?: { active(): { getValue(key: symbol): unknown } };
}
interface Span {
  spanContext(): { readonly traceId?: unknown; readonly spanId?: unknown; readonly traceFlags?: unknown };
}
const holder = globalThis as { readonly [API]?: Api };

const TRACE_ID = /^(?!0{32})[0-9a-f]{32}$/i;
const SPAN_ID = /^(?!0{16})[0-9a-f]{16}$/i;

/** The active span; `undefined` where there is none, or no SDK. Never throws. */
export function activeSpan(): object | undefined {
  const api = holder[API];
  if (api === undefined) return undefined;
  try {
    const span = api.context?.active().getValue(SPAN);
    return typeof span === "object" && span !== null ? span : undefined;
  } catch {
    return undefined;
  }
}

/** The ids of a span as a line has them, under the names of OpenTelemetry's own instrumentation; none if invalid. */
export function spanIds(span: object): Bindings {
  const ids = idsOf(span);
  if (ids === undefined) return NO_BINDINGS;
  const { trace_id, span_id, trace_flags } = ids;
  return new Bindings(["trace_id", "span_id", "trace_flags"], [`"${trace_id}"`, `"${span_id}"`, `"${trace_flags}"`]);
}

/**
 * The ids of OpenTelemetry's active span; `undefined` where there is none, or no SDK in this process. Lines have these by
 * themselves. Never throws.
 */
export function activeSpanContext(): SpanContext | undefined {
  const span = activeSpan();
  return span === undefined ? undefined : idsOf(span);
}

function idsOf(span: object): SpanContext | undefined {
  try {
    const { traceId, spanId, traceFlags } = (span as Span).spanContext();
    if (typeof traceId !== "string" || !TRACE_ID.test(traceId)) return undefined;
    if (typeof spanId !== "string" || !SPAN_ID.test(spanId)) return undefined;
    const flags = typeof traceFlags === "number" ? (traceFlags & 0xff).toString(16).padStart(2, "0") : "00";
    return { trace_id: traceId, span_id: spanId, trace_flags: flags };
  } catch {
    return undefined;
  }
}

/**
 * What a mixin of instrumentation says besides the ids of the active span. These are in the line already, in their
 * place, where they give way to an explicit context.
 */
export function withoutSpanIds(mixed: object): object {
  const { trace_id, span_id, trace_flags: _flags, ...others } = mixed as Record<string, unknown>;
  if (typeof trace_id !== "string" || typeof span_id !== "string") return mixed;
  const span = activeSpan();
  if (span === undefined) return mixed;
  const { values } = spanIds(span);
  return values[0] === `"${trace_id}"` && values[1] === `"${span_id}"` ? others : mixed;
}
