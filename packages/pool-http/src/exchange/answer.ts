/** What an attempt's answer becomes: a response, with its body in memory or as it comes. */
import type { Readable } from "node:stream";
import { HttpResponse, type StreamControl } from "../response.ts";
import type { Attempt } from "./attempt.ts";
import type { DeadlineLines } from "./deadline-line.ts";
import type { Failure } from "../failure.ts";
import { decodeBody, parseEncoding } from "./decode.ts";
import { headerText } from "./headers.ts";
import type { Interruption } from "./interruption.ts";
import type { Journal } from "./journal.ts";
import type { PreparedRequest } from "./request.ts";
import { InflatedStream, ResponseStream, type StreamOwner } from "./response-stream.ts";
import { waitForResult } from "./waits.ts";

/** The encodings that are ours to undo, the outermost first; `undefined` where there is none. */
export function layersOf(attempt: Attempt, request: PreparedRequest): readonly string[] | undefined {
  if (!request.decodes || attempt.status === 206) return undefined;
  return parseEncoding(headerText(attempt.headers["content-encoding"]));
}

/** The whole body, inflated. `held`: the attempt has stopped at its headers, and the rest is yet to come. */
export async function readBody(
  attempt: Attempt,
  request: PreparedRequest,
  held: boolean,
  interruption: Interruption,
): Promise<Buffer | Failure> {
  if (held) {
    const collected = attempt.collect();
    interruption.stopWith((failure) => attempt.cancel(failure));
    const failure = await collected;
    interruption.waited();
    if (failure !== undefined) return failure;
  }
  const raw = attempt.takeBody();
  const layers = layersOf(attempt, request);
  if (layers === undefined) return raw;
  const decoded = decodeBody(raw, layers, request.maxResponseBytes);
  return decoded instanceof Promise ? waitForResult(decoded, interruption) : decoded;
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
