import { isDeeperThan, MAX_DEPTH } from "../canonical-json.ts";
import { InferenceRequestError } from "../inference-error.ts";
import { isObject, type JsonObject } from "../json.ts";

/**
 * The JSON object of a request's body: what a framework has parsed already, or read from the bytes.
 *
 * @throws InferenceRequestError 413 beyond `maxBytes`, 400 for what is no JSON object
 */
export async function readBody(
  parsed: unknown,
  bytes: AsyncIterable<Uint8Array> | null,
  announcedBytes: number,
  maxBytes: number,
): Promise<JsonObject> {
  if (parsed !== undefined && parsed !== null) {
    if (typeof parsed === "string") return checked(parse(parsed));
    return checked(parsed instanceof Uint8Array ? parse(decode(parsed)) : parsed);
  }
  // Refuse by the announced length where there is one; count for those that announce none, or lie.
  if (announcedBytes > maxBytes) throw tooLarge(maxBytes);
  const chunks: Uint8Array[] = [];
  let size = 0;
  if (bytes !== null) {
    for await (const chunk of bytes) {
      size += chunk.length;
      if (size > maxBytes) throw tooLarge(maxBytes);
      chunks.push(chunk);
    }
  }
  return checked(parse(decode(Buffer.concat(chunks))));
}

function parse(text: string): unknown {
  if (text.trim() === "") throw new InferenceRequestError("The request has no body; send a JSON object.");
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new InferenceRequestError(`The request's body is not valid JSON: ${(cause as Error).message}`);
  }
}

function decode(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw new InferenceRequestError("The request's body is not valid UTF-8.");
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
