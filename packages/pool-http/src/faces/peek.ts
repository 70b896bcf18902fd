const PEEK_BYTES = 1024 * 1024;

/**
 * The bytes of a stream that has them at hand: all of them within one turn of the event loop, and no more than 1 MiB.
 * Otherwise the stream again, with what was read put back at its front.
 */
export async function peek(stream: ReadableStream<Uint8Array>): Promise<Uint8Array | AsyncIterable<Uint8Array>> {
  const reader: ReadableStreamDefaultReader<Uint8Array> = stream.getReader();
  const chunks: Uint8Array[] = [];
  let size = 0;
  let turned = false;
  const turn = new Promise<"turned">((resolve) => {
    setImmediate(() => {
      turned = true;
      resolve("turned");
    });
  });
  for (;;) {
    const reading = reader.read();
    const result = await Promise.race([reading, turn]);
    if (result === "turned" || turned || size > PEEK_BYTES) return rest(reader, chunks, reading);
    if (result.done) return Buffer.concat(chunks);
    chunks.push(result.value);
    size += result.value.length;
  }
}

/** A stream again, so that whoever gives it up can cancel it even while it waits. */
function rest(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  chunks: readonly Uint8Array[],
  reading: Promise<{ done: boolean; value?: Uint8Array | undefined }>,
): ReadableStream<Uint8Array> {
  let next: typeof reading | undefined = reading;
  return new ReadableStream<Uint8Array>({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(chunk);
    },
    async pull(controller) {
      const { done, value } = await (next ?? reader.read());
      next = undefined;
      if (done) controller.close();
      else if (value !== undefined) controller.enqueue(value);
    },
    cancel: (reason) => reader.cancel(reason),
  });
}
