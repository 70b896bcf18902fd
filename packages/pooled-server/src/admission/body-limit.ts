import type { IncomingMessage } from "node:http";

/** What a request says of its body: its length, or `undefined` for one that comes in chunks, or for none. */
export function declaredBytes(request: IncomingMessage): number | undefined {
  const length = request.headers["content-length"];
  // node:http has refused whatever is no number.
  return length === undefined ? undefined : Number(length);
}

type Push = (this: IncomingMessage, chunk: unknown, encoding?: BufferEncoding) => boolean;

/**
 * Counts a body that comes in chunks, where node:http hands its pieces over: whoever reads it, however and whenever, is not
 * disturbed. After the limit nothing comes any more, its end included, so that nobody takes the part for the whole.
 *
 * @param exceeded called once
 */
export function limitBody(request: IncomingMessage, maxBytes: number, exceeded: () => void): void {
  const patched = request as unknown as { push: Push };
  const { push } = patched;
  let left = maxBytes;
  patched.push = function (chunk, encoding) {
    // Told that there is room, node:http goes on reading, and the client gets to read its answer.
    if (left < 0) return true;
    if (ArrayBuffer.isView(chunk)) left -= chunk.byteLength;
    if (left >= 0) return push.call(this, chunk, encoding);
    exceeded();
    return true;
  };
}
