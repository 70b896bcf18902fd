import { type AmbientContext, currentContext, runInContext, withContext } from "../context/ambient.ts";
import { activeSpan } from "../context/open-telemetry.ts";
import { fromTraceparent } from "../context/trace-context.ts";

/** The ids that tie the lines of one request together; under these names in every line. */
export interface RequestIds {
  readonly request_id: string;
  readonly trace_id?: string | undefined;
  readonly span_id?: string | undefined;
  readonly trace_flags?: string | undefined;
}

/** The whole context of a request's lines, made by whoever follows it. */
export type RequestLineContext = AmbientContext & RequestIds;

/** The frozen ids of a request by its own and its `traceparent`, if that is valid. */
export function requestIds(requestId: string, traceparent: unknown): RequestIds {
  const trace = typeof traceparent === "string" ? fromTraceparent(traceparent) : null;
  return Object.freeze(trace === null ? { request_id: requestId } : { request_id: requestId, ...trace });
}

/** Calls `work` as part of the request: the lines of all loggers that it leads to carry the ids. */
export function runInRequest<A extends unknown[], T>(ids: RequestIds, work: (...args: A) => T, ...args: A): T {
  // A span that is active already is nearer to its lines than the header which it continues.
  const added = activeSpan() === undefined ? ids : Object.freeze({ request_id: ids.request_id });
  if (currentContext() === undefined) return runInContext(added, work, ...args);
  return withContext(added, () => work(...args));
}
