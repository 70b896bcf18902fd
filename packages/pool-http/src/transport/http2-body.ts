import type { ClientHttp2Stream } from "node:http2";
import type { Dispatcher } from "undici";

/** Writes a body to its stream as fast as the stream takes it. Never rejects: a source that fails fails the stream. */
export async function sendBody(
  stream: ClientHttp2Stream,
  body: string | Uint8Array | Blob | AsyncIterable<Uint8Array | string>,
  exchange: { readonly ended: boolean; fail(error: Error): void },
  handler: Dispatcher.DispatchHandler,
): Promise<void> {
  if (typeof body === "string" || body instanceof Uint8Array) {
    const bytes = typeof body === "string" ? Buffer.from(body) : Buffer.from(body.buffer, body.byteOffset, body.length);
    stream.end(bytes);
    handler.onBodySent?.(bytes);
    return;
  }
  const chunks: AsyncIterable<Uint8Array | string> = body instanceof Blob ? body.stream() : body;
  try {
    for await (const chunk of chunks) {
      if (exchange.ended || stream.destroyed) return;
      const bytes =
        typeof chunk === "string" ? Buffer.from(chunk) : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length);
      const room = stream.write(bytes);
      handler.onBodySent?.(bytes);
      if (!room && !(await drained(stream))) return;
    }
    if (!exchange.ended) stream.end();
  } catch (error) {
    exchange.fail(error as Error);
  }
}

/** Whether the stream takes more, once it does or has closed. */
function drained(stream: ClientHttp2Stream): Promise<boolean> {
  return new Promise((resolve) => {
    const settle = (open: boolean) => (): void => {
      stream.off("drain", onDrain);
      stream.off("close", onClose);
      resolve(open);
    };
    const onDrain = settle(true);
    const onClose = settle(false);
    if (stream.destroyed) return resolve(false);
    stream.on("drain", onDrain);
    stream.on("close", onClose);
  });
}
