/** What an attempt's answer becomes: a response, with its body in memory or as it comes. */
import type { Readable } from "node:stream";
import { HttpResponse, type StreamControl } from "../response.ts";
import type { Attempt } from "./attempt.ts";
import type { DeadlineLines } from "./deadline-line.ts";
import { parseEncoding } from "./decode.ts";
import { headerText } from "./headers.ts";
import type { Journal } from "./journal.ts";
import type { PreparedRequest } from "./request.ts";
import { InflatedStream, ResponseStream, type StreamOwner } from "./response-stream.ts";

/** The encodings that are ours to undo, the outermost first; `undefined` where there is none. */
export function layersOf(attempt: Attempt, request: PreparedRequest): readonly string[] | undefined {
  if (!request.decodes || attempt.status === 206) return undefined;
  return parseEncoding(headerText(attempt.headers["content-encoding"]));
}

/** The stream on the wire, and what the caller reads: the same, or inflated. */
export function openStream(
  attempt: Attempt,
  request: PreparedRequest,
  owner: StreamOwner,
  deadlines: DeadlineLines,
): { stream: ResponseStream; body: Readable } {
  const layers = layersOf(attempt, request);
  const stream = new ResponseStream(attempt, owner, request, deadlines);
  const body = layers === undefined ? stream : new InflatedStream(stream, layers);
  attempt.stream(stream);
  return { stream, body };
}

export function responseOf(
  attempt: Attempt,
  request: PreparedRequest,
  { pool, journal }: { pool: string; journal: Journal },
  body: Buffer | Readable,
  control?: StreamControl,
): HttpResponse {
  const { status, statusText, headers } = attempt;
  if (layersOf(attempt, request) !== undefined) {
    // They describe the body on the wire, not the one that is handed out.
    delete headers["content-encoding"];
    delete headers["content-length"];
  }
  return new HttpResponse({ status, statusText, headers, journal, body, control, pool, request });
}
