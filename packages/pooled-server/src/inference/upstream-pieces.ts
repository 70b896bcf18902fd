/** Reads what a service's `forward` gives, piece by piece, and says in our words what is wrong with it. */
import { EventParser } from "./event-parser.ts";
import { InferenceUpstreamError } from "./inference-error.ts";
import { isObject, type JsonObject } from "./json.ts";
import { chunkPieces, Piece } from "./piece.ts";

/** The longest answer that is taken from an upstream, unless told otherwise. */
export const MAX_ANSWER_BYTES = 16_777_216;

/** A response as fetch, undici and @vg/pool-http have it. */
export interface UpstreamResponse {
  readonly status: number;
  readonly headers: Headers | Readonly<Record<string, string | readonly string[] | undefined>>;
  readonly body: unknown;
}

/**
 * What a forward may give: a response in OpenAI's format (JSON or server-sent events, whatever was asked for), chunk
 * objects as they come (an AsyncIterable), or the whole document. All of them are objects, and no narrower type takes what
 * OpenAI's SDK declares: its documents are interfaces, which have no index signature.
 */
export type Forwarded = UpstreamResponse | object;

/**
 * The pieces of an answer, as they come; it has ended properly when this returns. Whoever stops reading ends the call.
 *
 * @throws InferenceUpstreamError for anything that is no whole answer, and whatever the iterable throws
 */
export async function* upstreamPieces(forwarded: Forwarded, maxBytes: number): AsyncGenerator<Piece> {
  if (isResponse(forwarded)) {
    if (forwarded.status < 200 || forwarded.status > 299) throw await refusal(forwarded);
    const type = headerOf(forwarded, "content-type")?.toLowerCase() ?? "";
    if (type.includes("event-stream")) yield* eventPieces(forwarded, maxBytes);
    else if (type.includes("json")) yield await documentPiece(forwarded, maxBytes);
    else {
      await discard(forwarded);
      const shown = type === "" ? "no content type" : JSON.stringify(type.slice(0, 60));
      throw new InferenceUpstreamError(
        `The upstream answered with ${shown}, which is neither JSON nor an event stream.`,
      );
    }
  } else if (isIterable(forwarded)) {
    yield* chunkObjects(forwarded, maxBytes);
  } else {
    yield wholeDocument(forwarded);
  }
}

/** Lets go of what will not be read. */
export async function discard(forwarded: Forwarded): Promise<void> {
  try {
    if (isResponse(forwarded)) {
      const { body } = forwarded;
      if (body instanceof ReadableStream) await body.cancel();
      else if (isObject(body) && typeof body["destroy"] === "function") body["destroy"]();
    } else if (isIterable(forwarded)) {
      await forwarded[Symbol.asyncIterator]().return?.();
    }
  } catch {
    // It is broken already, or being read by somebody else: either way it is not ours any more.
  }
}

async function* chunkObjects(chunks: AsyncIterable<JsonObject>, maxBytes: number): AsyncGenerator<Piece> {
  let size = 0;
  for await (const chunk of chunks) {
    const piece = chunkPiece(chunk);
    size += piece.text.length;
    if (size > maxBytes) throw tooLong(maxBytes);
    yield piece;
  }
}

async function* eventPieces(response: UpstreamResponse, maxBytes: number): AsyncGenerator<Piece> {
  const parser = new EventParser();
  let size = 0;
  for await (const bytes of bytesOf(response)) {
    size += bytes.length;
    if (size > maxBytes) throw tooLong(maxBytes);
    for (const { event, data } of parsed(parser, bytes)) {
      // Some servers keep a connection open with it.
      if (data === "") continue;
      // What comes after the end is not looked at.
      if (data.trim() === "[DONE]") return;
      let value: unknown;
      try {
        value = JSON.parse(data);
      } catch (cause) {
        throw new InferenceUpstreamError("The upstream sent an event that is not JSON.", { cause });
      }
      if (event === "error") throw errorOf(isObject(value) ? (value["error"] ?? value) : value);
      // Nothing at all, as some servers send it to keep a connection open.
      if (value === null) continue;
      yield chunkPiece(value, data);
    }
  }
  // There are servers that leave out the empty line after their last event.
  if (parser.unfinished.trim() === "[DONE]") return;
  throw new InferenceUpstreamError("The upstream ended its stream before it was complete: [DONE] is missing.");
}

function parsed(parser: EventParser, bytes: Uint8Array): ReturnType<EventParser["feed"]> {
  try {
    return parser.feed(bytes);
  } catch (cause) {
    throw new InferenceUpstreamError("The upstream sent bytes that are not UTF-8.", { cause });
  }
}

function chunkPiece(value: unknown, text?: string): Piece {
  if (!isObject(value)) throw new InferenceUpstreamError("The upstream sent an event that is no JSON object.");
  if ((value["error"] ?? null) !== null) throw errorOf(value["error"]);
  if (text !== undefined) return new Piece("chunk", value, text);
  // A copy: who makes chunks may use one object for all of them, and pieces are read again at the end.
  const copy = JSON.stringify(value);
  return new Piece("chunk", JSON.parse(copy) as JsonObject, copy);
}

async function documentPiece(response: UpstreamResponse, maxBytes: number): Promise<Piece> {
  const text = await textOf(response, maxBytes);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new InferenceUpstreamError("The upstream's answer is not valid JSON.", { cause });
  }
  return wholeDocument(value, text);
}

function wholeDocument(value: unknown, text?: string): Piece {
  if (!isObject(value)) throw new InferenceUpstreamError("The upstream's answer is no JSON object.");
  if ((value["error"] ?? null) !== null) throw errorOf(value["error"]);
  return new Piece("document", value, text);
}

/**
 * The chunks of what an upstream answers, as they come; made of the document where it does not stream. For a `forward` that
 * has something to say about them before others see them.
 *
 * @param response as fetch, undici and @vg/pool-http give it
 * @param options.maxBytes the longest answer that is taken; default 16 MiB
 * @throws InferenceUpstreamError for a refusal and for anything that is no whole answer
 */
export async function* readChunks(
  response: UpstreamResponse,
  { maxBytes = MAX_ANSWER_BYTES }: { maxBytes?: number } = {},
): AsyncGenerator<JsonObject> {
  for await (const piece of upstreamPieces(response, maxBytes)) {
    for (const { value } of chunkPieces([piece])) yield value;
  }
}

/** Reads a document whole, for callers that need no pieces. */
export async function upstreamDocument(forwarded: Forwarded, maxBytes: number): Promise<JsonObject> {
  for await (const piece of upstreamPieces(forwarded, maxBytes)) {
    if (piece.kind === "document") return piece.value;
    break;
  }
  throw new InferenceUpstreamError("The upstream answered with a stream where a document belongs.");
}

/** What a refusal may say at most. */
const MAX_REFUSAL_BYTES = 65_536;

/** A status that is no success, with what the upstream says about it in OpenAI's form. */
async function refusal(response: UpstreamResponse): Promise<InferenceUpstreamError> {
  const { status } = response;
  let error: unknown;
  try {
    const value: unknown = JSON.parse(await textOf(response, MAX_REFUSAL_BYTES));
    error = isObject(value) ? value["error"] : undefined;
  } catch {
    // No JSON: a proxy's page, say. The status tells enough.
  }
  const seconds = secondsUntil(headerOf(response, "retry-after"));
  return errorOf(error, {
    // A redirect or an informational status is not an answer that a client can use.
    status: status >= 400 && status <= 599 ? status : 502,
    upstreamStatus: status,
    retryAfterSeconds: Number.isFinite(seconds) && seconds > 0 ? Math.ceil(seconds) : undefined,
    fallback: `The upstream failed with status ${status}.`,
  });
}

/** `Retry-After` is a number of seconds, or a date (RFC 9110, 10.2.3). */
export function secondsUntil(text: string | null | undefined): number {
  if (text === null || text === undefined) return NaN;
  return /^\s*\d+(\.\d+)?\s*$/.test(text) ? Number(text) : (Date.parse(text) - Date.now()) / 1_000;
}

interface Refused {
  status?: number;
  upstreamStatus?: number;
  retryAfterSeconds?: number | undefined;
  fallback?: string;
}

/** An upstream's error object as an error of ours; its words go to the client, as they would without a cache. */
function errorOf(error: unknown, { status = 502, fallback, ...rest }: Refused = {}): InferenceUpstreamError {
  const said = isObject(error) ? error : {};
  const { message: words, type, code, param, ...more } = said;
  const message =
    typeof words === "string" ? words : typeof error === "string" ? error : (fallback ?? "The upstream failed.");
  return new InferenceUpstreamError(message.slice(0, 4_096), {
    ...rest,
    status,
    ...(typeof type === "string" ? { type } : {}),
    ...(typeof code === "string" || typeof code === "number" ? { reason: String(code) } : {}),
    ...(typeof param === "string" ? { param } : {}),
    more,
  });
}

function tooLong(maxBytes: number): InferenceUpstreamError {
  return new InferenceUpstreamError(
    `The upstream's answer is longer than ${maxBytes} bytes (inference.maxAnswerBytes), so the call was ended.`,
    { reason: "answer_too_long" },
  );
}

async function textOf(response: UpstreamResponse, maxBytes: number): Promise<string> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const bytes of bytesOf(response)) {
    size += bytes.length;
    if (size > maxBytes) throw tooLong(maxBytes);
    parts.push(bytes);
  }
  // Without the mark of the byte order, which some servers put in front, and JSON may not have.
  return Buffer.concat(parts)
    .toString("utf8")
    .replace(/^\uFEFF/, "");
}

/** @throws InferenceUpstreamError where the connection breaks */
async function* bytesOf({ body }: UpstreamResponse): AsyncGenerator<Uint8Array> {
  if (body === null || body === undefined) return;
  try {
    for await (const chunk of body as AsyncIterable<Uint8Array | string>) {
      yield typeof chunk === "string" ? Buffer.from(chunk) : chunk;
    }
  } catch (cause) {
    // An error that says what it is (a time limit, say) is better than our guess.
    if (typeof (cause as { code?: unknown } | null)?.code === "string") throw cause;
    throw new InferenceUpstreamError("The upstream's connection broke before its answer was complete.", { cause });
  }
}

function isResponse(value: Forwarded): value is UpstreamResponse {
  return isObject(value) && typeof value["status"] === "number" && "headers" in value && "body" in value;
}

function isIterable(value: Forwarded): value is AsyncIterable<JsonObject> {
  return typeof (value as Partial<AsyncIterable<JsonObject>> | null)?.[Symbol.asyncIterator] === "function";
}

function headerOf({ headers }: UpstreamResponse, name: string): string | undefined {
  // By what it can do: another copy of undici has a Headers of its own.
  const { get } = headers as Partial<Headers>;
  if (typeof get === "function") return (get as Headers["get"]).call(headers, name) ?? undefined;
  const value = (headers as Readonly<Record<string, string | readonly string[] | undefined>>)[name];
  return typeof value === "string" ? value : value?.[0];
}
