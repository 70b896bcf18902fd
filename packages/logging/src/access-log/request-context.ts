import { withContext } from "../context/ambient.ts";
import { activeSpan } from "../context/open-telemetry.ts";
import { fromTraceparent } from "../context/trace-context.ts";

/** The ids that tie the lines of one request together; under these names in every line. */
export interface RequestIds {
  readonly request_id: string;
  readonly trace_id?: string;
  readonly span_id?: string;
  readonly trace_flags?: string;
}

/** The ids of a request by its own and its `traceparent`, if that is valid. */
export function requestIds(requestId: string, traceparent: unknown): RequestIds {
  const trace = typeof traceparent === "string" ? fromTraceparent(traceparent) : null;
  return trace === null ? { request_id: requestId } : { request_id: requestId, ...trace };
}

/** Calls `work` as part of the request: the lines of all loggers that it leads to carry the ids. */
export function runInRequest<T>(ids: RequestIds, work: () => T): T {
  // A span that is active already is nearer to its lines than the header which it continues.
  return withContext(activeSpan() === undefined ? ids : { request_id: ids.request_id }, work);
}
