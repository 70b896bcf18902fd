import type { IncomingMessage } from "node:http";
import { isDeeperThan, MAX_DEPTH } from "../canonical-json.ts";
import { InferenceRequestError } from "../inference-error.ts";
import { isObject, type JsonObject } from "../json.ts";
import type { SeenBodies, SeenBody } from "../seen-bodies.ts";

/** A request's body, and what is known of its text. */
export interface ParsedBody {
  readonly body: JsonObject;
  readonly seen: SeenBody | undefined;
}

/**
 * @param raw the JSON object that a framework has parsed already, or the text or bytes of one
 * @throws InferenceRequestError for what is no JSON object
 */
export function parseBody(raw: unknown, bodies?: SeenBodies): ParsedBody {
  const text = raw instanceof Uint8Array ? decode(raw) : raw;
  if (typeof text !== "string") return { body: checked(text), seen: undefined };
  const seen = bodies?.of(text);
  return { body: seen?.value ?? parseText(text), seen };
}

/** @throws InferenceRequestError for what is no JSON object */
export function parseText(text: string): JsonObject {
  return checked(parse(text));
}

/**
 * The bytes of a request's body.
 *
 * @throws InferenceRequestError 413 beyond `maxBytes`; whatever breaks the connection
 */
export async function readNodeBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  // Refuse by the announced length where there is one; count for those that announce none, or lie.
  if (Number(request.headers["content-length"] ?? 0) > maxBytes) throw tooLarge(maxBytes);
  // Somebody has read it to its end and kept nothing: no event will come.
  if (request.readableEnded) return Buffer.alloc(0);
  // Nor for a client that has left while its request waited for its turn.
  if (request.destroyed) throw request.errored ?? cutShort();
  const chunks: Buffer[] = [];
  let size = 0;
  await new Promise<void>((resolve, reject) => {
    const stop = (settle: () => void): void => {
      request.off("data", onData).off("end", onEnd).off("error", onError).off("close", onClose);
      settle();
    };
    const onData = (chunk: Buffer): void => {
      size += chunk.length;
      if (size > maxBytes) stop(() => reject(tooLarge(maxBytes)));
      else chunks.push(chunk);
    };
    const onEnd = (): void => stop(resolve);
    const onError = (error: Error): void => stop(() => reject(error));
    const onClose = (): void => stop(() => reject(cutShort()));
    request.on("data", onData).on("end", onEnd).on("error", onError).on("close", onClose);
  });
  const [first] = chunks;
  return chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks);
}

function cutShort(): Error {
  return new Error("The connection closed within the request's body");
}

/** As `readNodeBody`. */
export async function readFetchBody({ headers, body }: Request, maxBytes: number): Promise<Uint8Array> {
  if (Number(headers.get("content-length") ?? 0) > maxBytes) throw tooLarge(maxBytes);
  const chunks: Uint8Array[] = [];
  let size = 0;
  if (body === null) return Buffer.alloc(0);
  for await (const chunk of body) {
    size += chunk.length;
    if (size > maxBytes) throw tooLarge(maxBytes);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

const UTF8 = new TextDecoder("utf-8", { fatal: true });

function decode(bytes: Uint8Array): string {
  try {
    return UTF8.decode(bytes);
  } catch {
    throw new InferenceRequestError("The request's body is not valid UTF-8.");
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    if (text.trim() === "") throw new InferenceRequestError("The request has no body; send a JSON object.");
    throw new InferenceRequestError(`The request's body is not valid JSON: ${(cause as Error).message}`);
  }
}

function checked(value: unknown): JsonObject {
  if (!isObject(value)) throw new InferenceRequestError("The request's body must be a JSON object.");
  if (isDeeperThan(value, MAX_DEPTH)) {
    throw new InferenceRequestError(`The request's body is nested deeper than ${MAX_DEPTH} levels.`);
  }
  return value;
}

function tooLarge(maxBytes: number): InferenceRequestError {
  return new InferenceRequestError(`The request's body is larger than ${maxBytes} bytes; shorten the messages.`, {
    status: 413,
    reason: "payload_too_large",
  });
}
