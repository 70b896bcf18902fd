import type { HttpBody } from "../exchange/request-body.ts";
import { isFormData } from "../exchange/multipart.ts";
import { modern } from "./old-stream.ts";

const SLICE_BYTES = 64 * 1024;

/** What axios's transforms have left of `data`; the type is that of a form, which alone knows its boundary. */
export function axiosBody(data: unknown): { body?: HttpBody; type?: string | undefined } {
  if (data === undefined || data === null || data === false) return {};
  if (typeof data !== "object") return { body: String(data as number) };
  if (data instanceof ArrayBuffer || data instanceof Blob || data instanceof URLSearchParams) return { body: data };
  if (ArrayBuffer.isView(data)) return { body: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
  // The `form-data` package: a stream of the oldest kind, with a method for its header.
  const { getHeaders } = data as { getHeaders?: () => Record<string, string> };
  const type = typeof getHeaders === "function" ? getHeaders.call(data)["content-type"] : undefined;
  if (type !== undefined && !(Symbol.asyncIterator in data)) {
    return { body: modern(data as NodeJS.ReadableStream), type };
  }
  return { body: data, type };
}

/** A body that tells how much of it was taken, and its size where that is known. In memory, it stays repeatable. */
export function countedBody(
  body: HttpBody,
  took: (bytes: number) => void,
): { body: HttpBody; total: number | undefined } {
  if (typeof body === "object" && body !== null && (isFormData(body) || body instanceof Blob)) {
    // Without its own type it would be sent without one.
    return { body, total: undefined };
  }
  if (typeof body === "object" && body !== null && Symbol.asyncIterator in body) {
    return { body: counted(body as AsyncIterable<Uint8Array | string>, took), total: undefined };
  }
  const bytes =
    body instanceof ArrayBuffer
      ? new Uint8Array(body)
      : body instanceof Uint8Array
        ? body
        : Buffer.from(body as string);
  return { body: () => counted(slices(bytes), took), total: bytes.length };
}

async function* counted(
  chunks: AsyncIterable<Uint8Array | string> | Iterable<Uint8Array>,
  took: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
    yield bytes;
    took(bytes.length);
  }
}

function* slices(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += SLICE_BYTES) yield bytes.subarray(at, at + SLICE_BYTES);
}
