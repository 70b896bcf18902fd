import type { IncomingMessage } from "node:http";
import { ApiError } from "./api-error.ts";

const MAX_BODY_BYTES = 1024 * 1024;
/**
 * A body that is too large is read to its end, without being kept, so that its sender gets to see the answer instead of
 * a broken connection; but not further than this.
 */
const MAX_DISCARDED_BYTES = 16 * 1024 * 1024;

/**
 * The JSON object in the body of a request.
 *
 * @throws ApiError 413 above 1 MiB, 415 for a compressed body, 400 for anything that is not a JSON object in UTF-8
 */
export async function readJsonObject(request: IncomingMessage): Promise<Record<string, unknown>> {
  const encoding = request.headers["content-encoding"] ?? "identity";
  if (encoding !== "identity") {
    throw new ApiError(415, `Content-Encoding ${JSON.stringify(encoding)} is not supported. Send the body as it is.`);
  }
  const bytes = await readBytes(request);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new ApiError(400, `We could not parse the JSON body of your request: ${bytes.length} bytes were received.`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new ApiError(400, "The body of the request must be a JSON object.");
  }
  return value as Record<string, unknown>;
}

async function readBytes(request: IncomingMessage): Promise<Buffer> {
  const declared = Number(request.headers["content-length"] ?? 0);
  if (declared > MAX_DISCARDED_BYTES) throw tooLarge();
  const chunks: Buffer[] = [];
  let size = 0;
  // Leaving the loop early must not destroy the socket that the answer goes out on.
  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size <= MAX_BODY_BYTES) chunks.push(chunk);
    else if (size > MAX_DISCARDED_BYTES) break;
  }
  if (size > MAX_BODY_BYTES) throw tooLarge();
  return Buffer.concat(chunks);
}

function tooLarge(): ApiError {
  return new ApiError(413, `The body of the request is larger than ${MAX_BODY_BYTES} bytes. Shorten the request.`, {
    code: "request_too_large",
    headers: { connection: "close" },
  });
}
