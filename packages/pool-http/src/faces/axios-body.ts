import { Readable, Transform, pipeline } from "node:stream";
import type { HttpBody } from "../exchange/request-body.ts";
import type { AxiosProgressEvent } from "axios";
import { isFormData, multipart } from "../exchange/multipart.ts";
import { AxiosProgress } from "./axios-progress.ts";
import { modern } from "./old-stream.ts";

const OCTETS = "application/octet-stream";
const SLICE_BYTES = 64 * 1024;

/** What axios's transforms have left of `data`; the type is that of a form, which alone knows its boundary. */
export function axiosBody(data: unknown): { body?: HttpBody; type?: string | undefined } {
  if (data === undefined || data === null || data === false) return {};
  if (typeof data !== "object") return { body: String(data as number) };
  if (isFormData(data)) return axiosBody(multipart(data));
  // axios takes a Blob's type for the request's, whatever else was named: by then it has named one itself.
  if (data instanceof Blob) return { body: data, type: data.size > 0 ? data.type || OCTETS : undefined };
  if (data instanceof ArrayBuffer || data instanceof URLSearchParams) return { body: data };
  if (ArrayBuffer.isView(data)) return { body: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) };
  // The `form-data` package: a stream of the oldest kind, with a method for its header.
  const { getHeaders } = data as { getHeaders?: () => Record<string, string> };
  const type = typeof getHeaders === "function" ? getHeaders.call(data)["content-type"] : undefined;
  if (type !== undefined && !(Symbol.asyncIterator in data)) {
    return { body: modern(data as NodeJS.ReadableStream), type };
  }
  return { body: data, type };
}

/** The size of a body that is in memory, in bytes; `undefined` for a stream. */
export function sizeOf(body: HttpBody): number | undefined {
  if (typeof body === "string") return Buffer.byteLength(body);
  if (typeof body !== "object" || body === null) return undefined;
  if (body instanceof URLSearchParams) return Buffer.byteLength(body.toString());
  if (body instanceof Blob) return body.size;
  return body instanceof ArrayBuffer || ArrayBuffer.isView(body) ? body.byteLength : undefined;
}

/** A stream that fails beyond `maxBytes`, as axios's own does. */
export function limited(source: AsyncIterable<Uint8Array | string>, maxBytes: number, exceeded: () => Error): Readable {
  return through(source, (_size, all) => {
    if (all > maxBytes) throw exceeded();
  });
}

/** A body that tells how far it was taken. In memory, it stays repeatable. */
export function countedBody(body: HttpBody, listener: (event: AxiosProgressEvent) => void): HttpBody {
  const progressOf = (total: number | undefined): AxiosProgress => new AxiosProgress(listener, total, "upload");
  if (typeof body === "string") return countedBytes(Buffer.from(body), progressOf);
  if (typeof body !== "object" || body === null) return body;
  if (body instanceof URLSearchParams) return countedBytes(Buffer.from(body.toString()), progressOf);
  if (body instanceof ArrayBuffer) return countedBytes(new Uint8Array(body), progressOf);
  if (body instanceof Uint8Array) return countedBytes(body, progressOf);
  if (body instanceof Blob) {
    const progress = progressOf(body.size);
    return () => counted(body.stream(), progress);
  }
  return isIterable(body) ? counted(body, progressOf(undefined)) : body;
}

export function isIterable(body: HttpBody): body is AsyncIterable<Uint8Array | string> {
  return typeof body === "object" && body !== null && Symbol.asyncIterator in body;
}

function countedBytes(bytes: Uint8Array, progressOf: (total: number) => AxiosProgress): HttpBody {
  const progress = progressOf(bytes.length);
  return () => counted(Readable.from(slices(bytes), { objectMode: false }), progress);
}

function counted(source: AsyncIterable<Uint8Array | string>, progress: AxiosProgress): AsyncIterable<Uint8Array> {
  progress.restart();
  return through(
    source,
    (size) => progress.took(size),
    () => progress.end(),
  );
}

/** The same bytes, with a look at each piece, which may end it. Whoever closes it closes its source. */
export function through(
  source: AsyncIterable<Uint8Array | string>,
  look: (size: number, all: number) => void,
  end: () => void = () => {},
): Readable {
  let all = 0;
  const counter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      try {
        all += chunk.length;
        look(chunk.length, all);
        done(null, chunk);
      } catch (error) {
        done(error as Error);
      }
    },
    flush(done) {
      end();
      done();
    },
  });
  // What fails on either side ends the other; whoever reads it hears of it.
  return pipeline(source, counter, () => {});
}

function* slices(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += SLICE_BYTES) yield bytes.subarray(at, at + SLICE_BYTES);
}
