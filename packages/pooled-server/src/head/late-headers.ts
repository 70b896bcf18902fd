import type { OutgoingHttpHeaders, ServerResponse } from "node:http";

const NAME = "x-request-id";
const ID: unique symbol = Symbol("vg.pooled-server.request-id");
const MORE: unique symbol = Symbol("vg.pooled-server.late-headers");

/** What `writeHead` takes: a record, or names and values in an array. */
type Headers = OutgoingHttpHeaders | unknown[] | undefined;
type WriteHead = (this: ServerResponse, status: number, reason?: unknown, headers?: unknown) => unknown;

interface Marked {
  [ID]?: string;
  [MORE]?: Readonly<Record<string, string>>;
  writeHead: WriteHead;
}

/**
 * Lets the answer carry the request's id, unless the handler sets one of its own. The header is put in when the head is
 * written: set before, it would take Node.js off its quick way of writing heads.
 */
export function echoRequestId(response: ServerResponse, id: string): void {
  const marked = response as unknown as Marked;
  marked[ID] = id;
  marked.writeHead = writeHead;
}

/** More headers of that kind, by their names in lower case. Only where the request's id is echoed. */
export function addLateHeaders(response: ServerResponse, headers: Readonly<Record<string, string>>): void {
  (response as unknown as Marked)[MORE] = headers;
}

// One function for all responses, found on each: a framework may have put another prototype below it.
function writeHead(this: ServerResponse, status: number, reason?: unknown, headers?: unknown): unknown {
  const hasReason = typeof reason === "string";
  const all = withId(this, (hasReason ? headers : (headers ?? reason)) as Headers);
  const { writeHead: plain } = Object.getPrototypeOf(this) as Marked;
  return hasReason ? plain.call(this, status, reason, all) : plain.call(this, status, all);
}

function withId(response: ServerResponse, given: Headers): Headers {
  const { [ID]: id = "", [MORE]: more } = response as unknown as Marked;
  const isRecord = typeof given === "object" && given !== null && !Array.isArray(given);
  if (!isRecord || response.getHeaderNames().length > 0) {
    if (!response.hasHeader(NAME)) response.setHeader(NAME, id);
    for (const name in more) if (!response.hasHeader(name)) response.setHeader(name, more[name] as string);
    return given;
  }
  const isOwn = Object.keys(given).some((name) => name.length === NAME.length && name.toLowerCase() === NAME);
  if (more !== undefined) return isOwn ? { ...more, ...given } : { ...more, ...given, [NAME]: id };
  return isOwn ? given : { ...given, [NAME]: id };
}
