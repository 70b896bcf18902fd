import { PassThrough, type Readable } from "node:stream";

/** A stream of the kind before Node 0.10, which some packages still make, as one that can be iterated over. */
export function modern(old: NodeJS.ReadableStream): Readable {
  const stream = new PassThrough();
  old.on("error", (error: Error) => stream.destroy(error));
  // Not `wrap`, which never sets in motion what has to be asked for its first byte.
  return old.pipe(stream);
}

export function isOldStream(body: object): body is NodeJS.ReadableStream {
  const { pipe, on } = body as { pipe?: unknown; on?: unknown };
  return typeof pipe === "function" && typeof on === "function" && !(Symbol.asyncIterator in body);
}
